"""How the commands show the program's log."""

from typing import Any

import structlog

from tallystick.wording import one_line


def log_plainly() -> None:
    """What the fleet logs goes to stderr, from warnings on, in plain lines."""
    render = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)

    def line(logger: Any, method: str, event: Any) -> str:
        """What a configuration warns of looks as `config check` shows it."""
        if event["event"] == "config_warning":
            return f"tallystick: warning: {one_line('{code}: {key}: {message}'.format(**event))}"
        return render(logger, method, event)

    structlog.configure(
        processors=[structlog.processors.add_log_level, line],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        cache_logger_on_first_use=False,
    )
