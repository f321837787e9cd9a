"""The exporters of the OpenTelemetry SDK send to a running server: each use counts once, whatever they repeat."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.otlp import chat
from tests.support.serving import Served

CONFIG = {"accounts": {"auto": {}}, "telemetry": {"metrics_of": ["meters"]}}
ROUNDS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    (made / "limits.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """One server for all tests: each has accounts of its own."""
    server = Served(folder, "--config", "limits.json")
    yield server
    assert server.stop() == 0


def used(served: Served, prefix: str) -> dict[str, int]:
    """The tokens that each account has used whose name begins so."""
    client = served.client()
    agents = client.post("/v1/get-global-status", {"limit": 100}).json["agent_statuses"]
    client.close()
    return {one["agent"]: one["consumed"]["tokens"] for one in agents if one["agent"].startswith(prefix)}


def provider(name: str = "program") -> tuple[TracerProvider, InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    made = TracerProvider(resource=Resource({"service.name": name}), shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(kept))
    return made, kept


def test_spans_in_batches_count_once_repeated_late_and_out_of_order(served: Served) -> None:
    tracing, kept = provider()
    exporter = OTLPSpanExporter(f"{served.url}/v1/traces", compression=Compression.Gzip)
    tracing.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    tracer = tracing.get_tracer("tests")
    for n in range(60):
        # Agents and workflows carry the sums of the calls below them.
        with tracer.start_as_current_span("invoke_workflow") as flow, tracer.start_as_current_span("agent") as agent:
            sums = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
            flow.set_attributes({"gen_ai.operation.name": "invoke_workflow", **sums})
            agent.set_attributes({"gen_ai.operation.name": "invoke_agent", **sums})
            with tracer.start_as_current_span("chat") as span:
                span.set_attributes(chat(session__id=f"s-{n % 3}"))
    assert tracing.force_flush()
    assert used(served, "s-") == {"s-0": 2_200, "s-1": 2_200, "s-2": 2_200}
    finished = list(kept.get_finished_spans())
    for seed in range(ROUNDS):
        random.Random(seed).shuffle(finished)
        for start in range(0, len(finished), 50):
            assert exporter.export(finished[start : start + 50]) is SpanExportResult.SUCCESS
    assert used(served, "s-") == {"s-0": 2_200, "s-1": 2_200, "s-2": 2_200}
    tracing.shutdown()


def test_a_call_as_a_span_and_as_an_event_counts_once(served: Served) -> None:
    tracing, _ = provider("both")
    tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{served.url}/v1/traces")))
    resource = Resource({"service.name": "both"})
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{served.url}/v1/logs")))
    tracer, logger = tracing.get_tracer("tests"), logs.get_logger("tests")
    ids: list[dict[str, Any]] = [{"gen_ai__response__id": "msg_1"}, {}]
    for more in ids:
        for _ in range(2):
            with tracer.start_as_current_span("chat") as span:
                span.set_attributes(chat(**more))
                name = "gen_ai.client.inference.operation.details"
                logger.emit(LogRecord(event_name=name, attributes=chat(**more)))
    # The two with an id are one call; of the two without, each event is of its span.
    assert used(served, "both") == {"both": 330}
    tracing.shutdown()
    logs.shutdown()


def meter(kind: AggregationTemporality) -> tuple[InMemoryMetricReader, Histogram]:
    """A histogram of tokens, and what reads it."""
    reader = InMemoryMetricReader(preferred_temporality={sdk.Counter: kind, sdk.Histogram: kind})
    meters = MeterProvider([reader], resource=Resource({"service.name": "meters"}), shutdown_on_exit=False)
    return reader, meters.get_meter("tests").create_histogram("gen_ai.client.token.usage")


def test_metrics_count_what_is_new_also_after_a_restart(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "limits.json").write_bytes((folder / "limits.json").read_bytes())
    kinds = (AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE)
    readers = {f"s-{kind.name}": meter(kind) for kind in kinds}
    server = Served(tmp_path, "--config", "limits.json")
    collected: list[Any] = []
    expected = dict.fromkeys((f"{name}-{n}" for name in readers for n in range(2)), 0)
    for n in range(8):
        for name, (reader, histogram) in readers.items():
            for session, times in ((f"{name}-0", 1), (f"{name}-1", n % 2)):
                for _ in range(times):
                    said = {"session.id": session, "gen_ai.response.model": "claude-haiku-4-5"}
                    histogram.record(100 + n, {**said, "gen_ai.token.type": "input"})
                    histogram.record(10, {**said, "gen_ai.token.type": "output"})
                    expected[session] += 110 + n
            collected.append(reader.get_metrics_data())
        exporter = OTLPMetricExporter(f"{server.url}/v1/metrics", compression=Compression.Gzip)
        # What came before comes again, and late, in any order.
        again = random.Random(n).sample(collected, k=min(4, len(collected)))
        for data in (*collected[-2:], *again):
            assert exporter.export(data) is MetricExportResult.SUCCESS
        assert {**dict.fromkeys(expected, 0), **used(server, "s-")} == expected
        if n == 4:
            server.kill()
            server = Served(tmp_path, "--config", "limits.json")
    assert server.stop() == 0


def test_a_program_that_starts_anew_counts_from_nothing(served: Served) -> None:
    for _ in range(3):
        # Each is another process, which counts from its own start.
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], resource=Resource({"service.name": "meters"}), shutdown_on_exit=False)
        counter = meters.get_meter("tests").create_counter("gen_ai.client.inference.usage.input_tokens")
        exporter = OTLPMetricExporter(f"{served.url}/v1/metrics")
        for _ in range(2):
            counter.add(50, {"gen_ai.response.model": "claude-haiku-4-5", "session.id": "anew"})
            data = reader.get_metrics_data()
            assert data is not None
            assert exporter.export(data) is MetricExportResult.SUCCESS
        meters.shutdown()
    assert used(served, "anew") == {"anew": 300}
