"""Telemetry of other programs (OpenTelemetry, OTLP) as reports of usage."""
