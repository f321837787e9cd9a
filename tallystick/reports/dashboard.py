"""The dashboard in seed 000's Markdown, and what it is made of."""

import datetime as dt
from collections.abc import Iterator

from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.dashboard import Dashboard, Gauge, ModelUse, dashboard
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.view_store import ViewStore
from tallystick.reports.day_end import projected_eod
from tallystick.wording import counted, edge_amount, in_cents, markdown_text

WARNING = "⚠️"


def dashboard_of(views: ViewStore, now: dt.datetime) -> Dashboard:
    """The dashboard of the newest day on record, as of ``now``.

    Raises:
        NotKept: the rows cannot be read.
    """
    costs = Costs(views)
    return dashboard(costs, TaskDay(views, now), Status(views).fleet.config, projected_eod(views, costs, now))


def dashboard_markdown(shown: Dashboard) -> str:
    """The seed's layout; what is not known has no line."""
    return "\n".join([*_head(shown), *_agents(shown), *_costs(shown), *_models(shown), *_products(shown)]) + "\n"


def _head(shown: Dashboard) -> Iterator[str]:
    yield from ("## Resource Usage", "", f"**Today ({shown.date})**", "")


def _agents(shown: Dashboard) -> Iterator[str]:
    yield "### Agents"
    if shown.slots is None:
        yield f"- Active: {shown.active:,}"
    else:
        yield f"- Active: {shown.active:,}/{shown.slots:,} ({shown.percent_active or 0}% utilization)"
    yield f"- Queue: {counted(shown.waiting, 'task')} waiting"
    if shown.avg_wait_minutes is not None:
        yield f"- Avg wait time: {shown.avg_wait_minutes:,} minutes"


def _costs(shown: Dashboard) -> Iterator[str]:
    yield from ("", "### Costs", f"- Tokens used: {_gauge(shown.tokens)}", f"- Cost: {_gauge(shown.cost)}")
    if shown.projected_eod is not None:
        yield f"- Projected EOD: {_short(str(shown.projected_eod))}"


def _gauge(gauge: Gauge) -> str:
    used = _short(gauge.used)
    if gauge.limit is None:
        return f"{used} (no limit)"
    whole = "" if gauge.percent is None else f" ({gauge.percent}%)"
    return f"{used} / {_short(gauge.limit)}{whole}{f' {WARNING}' if gauge.alert else ''}"


def _models(shown: Dashboard) -> Iterator[str]:
    if shown.models:
        yield from ("", "### Models", *map(_model, shown.models))


def _model(use: ModelUse) -> str:
    # An alias is a word, and a word begins with a capital here; other names are shown as they are.
    name = use.model.capitalize() if use.model.isalpha() else markdown_text(use.model)
    return f"- {name}: {counted(use.tasks, 'task')}{' (critical)' if use.critical else ''}, {in_cents(use.cost_usd)}"


def _products(shown: Dashboard) -> Iterator[str]:
    if shown.products:
        yield from ("", "### By Product")
    for use in shown.products:
        yield f"- {'(no product)' if use.product is None else markdown_text(use.product)}: {use.percent}% of tokens"


def _short(value: int | str) -> str:
    """Tokens with thousands marked; dollars (which are texts) without cents where there are none."""
    return edge_amount(value).removesuffix(".00")
