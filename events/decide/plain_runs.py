"""Plain reports that follow one another, decided in one go: hardly anything else comes where much comes.

What a report says by itself, what it changes, what all of them add up to and what is answered are gone through one
after the other for all of them, so that the same few lines run over and over, which a processor does in two thirds of
the time. Only what the next report depends on is done report by report: balances.

A report of which limits, a last call, a product or the first one after an outage has something to say ends the row; it
is decided by itself (`decide.plain`), which is also the oracle of this in `tests/events/test_plain_runs.py`.
"""

import datetime as dt
from collections.abc import Sequence

from tallystick.config.amounts import InvalidAmount, Triple
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.plain import Said, may_go_on, reported, said_by
from tallystick.events.decide.stretch import Stretch
from tallystick.events.evolve.transfers import charge_account
from tallystick.events.evolve.usage import Use, note_uses
from tallystick.events.messages.replies import Enforcement, shown
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO

Asked = tuple[c.Command, dt.datetime, str, str]
"""A command, when it came, its id, which was checked to be well spelled or is, and who asked."""


def reports(ledger: Ledger, stretch: Stretch, asked: Sequence[Asked]) -> list[tuple[e.UsageReported, Enforcement]]:
    """The events of reports, and the answers, up to the first message that is not decided here."""
    if ledger.rules.limits or ledger.rules.last_call is not None:
        return []
    said = _said(ledger, asked)
    uses: list[Use] = []
    stands: list[tuple[float, Triple]] = []
    position, now = ledger.position, ledger.now
    until, opened_at = min(stretch.until, ledger.next_mark), ledger.opened_at
    ids = set[str]()
    for (_, at, id, by), (command, says) in zip(asked, said, strict=False):
        known = stretch.accounts.get(says.agent) or stretch.look_at(ledger, says.agent)
        if known is None or not known.is_simple or at >= until or id in ids or ledger.ids.get(id) is not None:
            break
        account, used = known.account, says.used
        heard_at = account.last_report_at
        ratio = known.ratio_after(used, ZERO)
        if ratio is None or (heard_at is not None and heard_at < opened_at) or not stretch.counts(used):
            break
        # Nothing can fail after this line.
        position += 1
        now = at if at > now else now
        ids.add(id)
        charge_account(account, *used)
        uses.append((account, reported(command, says, position, now, id, by), used))
        stands.append((ratio, account.remaining_all()))
    if uses:
        note_uses(ledger, uses)
        stretch.position, ledger.looked_at = position, now
    return [
        (event, may_go_on(account, ratio, shown(left)))
        for (account, event, _), (ratio, left) in zip(uses, stands, strict=True)
    ]


def _said(ledger: Ledger, asked: Sequence[Asked]) -> list[tuple[c.ReportUsage, Said]]:
    """What reports say by themselves, up to the first message that is no report or says more."""
    said = list[tuple[c.ReportUsage, Said]]()
    try:
        for command, _, id, _ in asked:
            if type(command) is not c.ReportUsage or (says := said_by(ledger, command, id)) is None:
                break
            said.append((command, says))
    except InvalidAmount:
        pass  # it is refused by itself
    return said
