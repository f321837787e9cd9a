"""Every event that the log can hold, gathered from the files of this folder, with its stored name and version.

Each class is a **fact** (something from outside: usage, an operator's order, a configuration) or a **decision** (of the
manager: granted, refused, covered, a level). A what-if replay keeps the facts and makes the decisions anew. Stored
names are versioned; a new shape gets a new version and an upcaster in ``log.codec``. Amounts are in internal units.
"""

from collections.abc import Mapping
from typing import Final

from tallystick.events.catalog.day import BreakerClosed as BreakerClosed
from tallystick.events.catalog.day import BreakerReset as BreakerReset
from tallystick.events.catalog.day import BreakerTripped as BreakerTripped
from tallystick.events.catalog.day import DayBegan as DayBegan
from tallystick.events.catalog.day import LimitApproved as LimitApproved
from tallystick.events.catalog.day import PriorityOverridden as PriorityOverridden
from tallystick.events.catalog.event import Event as Event
from tallystick.events.catalog.fleet import RESPONSES as RESPONSES
from tallystick.events.catalog.fleet import AlertDelivered as AlertDelivered
from tallystick.events.catalog.fleet import AlertDeliveryFailed as AlertDeliveryFailed
from tallystick.events.catalog.fleet import AlertRaised as AlertRaised
from tallystick.events.catalog.fleet import ClockAccepted as ClockAccepted
from tallystick.events.catalog.fleet import ClockApart as ClockApart
from tallystick.events.catalog.fleet import ClockTogether as ClockTogether
from tallystick.events.catalog.fleet import ConfigLoaded as ConfigLoaded
from tallystick.events.catalog.fleet import FleetOpened as FleetOpened
from tallystick.events.catalog.fleet import FleetPaused as FleetPaused
from tallystick.events.catalog.fleet import FleetResponseChanged as FleetResponseChanged
from tallystick.events.catalog.fleet import FleetResumed as FleetResumed
from tallystick.events.catalog.fleet import PeriodRenewed as PeriodRenewed
from tallystick.events.catalog.fleet import PoolExhausted as PoolExhausted
from tallystick.events.catalog.fleet import PricesLoaded as PricesLoaded
from tallystick.events.catalog.fleet import ReserveReleased as ReserveReleased
from tallystick.events.catalog.fleet import SpecialistGivenUp as SpecialistGivenUp
from tallystick.events.catalog.fleet import SpecialistRestored as SpecialistRestored
from tallystick.events.catalog.fleet import TotalBudgetSet as TotalBudgetSet
from tallystick.events.catalog.forecasts import AnomalyFound as AnomalyFound
from tallystick.events.catalog.forecasts import ForecastMade as ForecastMade
from tallystick.events.catalog.forecasts import ForecastScored as ForecastScored
from tallystick.events.catalog.forecasts import RunLearned as RunLearned
from tallystick.events.catalog.tasks import AfterLease as AfterLease
from tallystick.events.catalog.tasks import DependenciesAwaited as DependenciesAwaited
from tallystick.events.catalog.tasks import EstimateAdjusted as EstimateAdjusted
from tallystick.events.catalog.tasks import LeaseExtended as LeaseExtended
from tallystick.events.catalog.tasks import LeaseLost as LeaseLost
from tallystick.events.catalog.tasks import PreemptionAcknowledged as PreemptionAcknowledged
from tallystick.events.catalog.tasks import StartsExpected as StartsExpected
from tallystick.events.catalog.tasks import TaskCancelled as TaskCancelled
from tallystick.events.catalog.tasks import TaskCompleted as TaskCompleted
from tallystick.events.catalog.tasks import TaskGivenUp as TaskGivenUp
from tallystick.events.catalog.tasks import TaskOverdue as TaskOverdue
from tallystick.events.catalog.tasks import TaskPreempted as TaskPreempted
from tallystick.events.catalog.tasks import TaskQueued as TaskQueued
from tallystick.events.catalog.tasks import TaskRejected as TaskRejected
from tallystick.events.catalog.tasks import TaskRetried as TaskRetried
from tallystick.events.catalog.tasks import TaskStarted as TaskStarted
from tallystick.events.catalog.tasks import TaskSubmitted as TaskSubmitted
from tallystick.events.catalog.tasks import TokenBudgetPassed as TokenBudgetPassed

# isort: split
from tallystick.events.catalog.budgets import AgentLeaseEnded as AgentLeaseEnded
from tallystick.events.catalog.budgets import BudgetAllocated as BudgetAllocated
from tallystick.events.catalog.budgets import BudgetDrawn as BudgetDrawn
from tallystick.events.catalog.budgets import BudgetMoved as BudgetMoved
from tallystick.events.catalog.budgets import BudgetReleased as BudgetReleased
from tallystick.events.catalog.budgets import BudgetReturned as BudgetReturned
from tallystick.events.catalog.budgets import Covered as Covered
from tallystick.events.catalog.budgets import CoverRepaid as CoverRepaid
from tallystick.events.catalog.budgets import OverdraftExceeded as OverdraftExceeded
from tallystick.events.catalog.budgets import OverdraftRepaid as OverdraftRepaid
from tallystick.events.catalog.budgets import Rebalanced as Rebalanced
from tallystick.events.catalog.budgets import ReserveDrawn as ReserveDrawn
from tallystick.events.catalog.budgets import Strategy as Strategy
from tallystick.events.catalog.budgets import UnusedRestored as UnusedRestored
from tallystick.events.catalog.budgets import UnusedReturned as UnusedReturned

# isort: split
from tallystick.events.catalog.usage import AgentHeard as AgentHeard
from tallystick.events.catalog.usage import EndOfHold as EndOfHold
from tallystick.events.catalog.usage import EstimatedBy as EstimatedBy
from tallystick.events.catalog.usage import HoldEnded as HoldEnded
from tallystick.events.catalog.usage import HoldExtended as HoldExtended
from tallystick.events.catalog.usage import HoldPlaced as HoldPlaced
from tallystick.events.catalog.usage import HoldSettled as HoldSettled
from tallystick.events.catalog.usage import HoldSpent as HoldSpent
from tallystick.events.catalog.usage import Said as Said
from tallystick.events.catalog.usage import UsageReported as UsageReported

# isort: split
from tallystick.events.catalog.enforcement import ACTIONS as ACTIONS
from tallystick.events.catalog.enforcement import LEVELS as LEVELS
from tallystick.events.catalog.enforcement import AgentResumed as AgentResumed
from tallystick.events.catalog.enforcement import AgentStopped as AgentStopped
from tallystick.events.catalog.enforcement import AgentThrottled as AgentThrottled
from tallystick.events.catalog.enforcement import ExhaustionWarned as ExhaustionWarned
from tallystick.events.catalog.enforcement import LastCallGiven as LastCallGiven
from tallystick.events.catalog.enforcement import LevelChanged as LevelChanged
from tallystick.events.catalog.enforcement import RequestRefused as RequestRefused

# isort: split
from tallystick.events.catalog.limits import ClosedCounter as ClosedCounter
from tallystick.events.catalog.limits import LimitLine as LimitLine
from tallystick.events.catalog.limits import LimitRaised as LimitRaised
from tallystick.events.catalog.limits import LimitWindowsBegan as LimitWindowsBegan
from tallystick.events.catalog.limits import ProviderRefused as ProviderRefused

# isort: split
from tallystick.events.catalog.snapshots import SnapshotRecorded as SnapshotRecorded

# isort: split
from tallystick.events.catalog.rules_version import RulesAdopted as RulesAdopted

# isort: split
from tallystick.events.catalog.corrections import UsageCorrected as UsageCorrected

# isort: split
from tallystick.events.catalog.access import KeyCreated as KeyCreated
from tallystick.events.catalog.access import KeyMisused as KeyMisused
from tallystick.events.catalog.access import KeyRevoked as KeyRevoked

# isort: split
from tallystick.events.catalog.delegation import ChildBound as ChildBound
from tallystick.events.catalog.delegation import DelegationEnded as DelegationEnded
from tallystick.events.catalog.delegation import DrawAsked as DrawAsked
from tallystick.events.catalog.delegation import ParentAnswered as ParentAnswered
from tallystick.events.catalog.delegation import RangeReported as RangeReported
from tallystick.events.catalog.delegation import ReturnAsked as ReturnAsked

# isort: split
from tallystick.events.catalog.bills import BillReconciled as BillReconciled

CATALOG: tuple[type[Event], ...] = tuple(
    kind for cls in Event.__subclasses__() for kind in (cls, *cls.__subclasses__())
)
"""All events, in the order of the imports above, which is also that of an export's columns."""

STORED_NAME: Final[Mapping[type[Event], str]] = {cls: str(cls.__struct_config__.tag) for cls in CATALOG}
EVENT_BY_NAME: Final[Mapping[str, type[Event]]] = {name: cls for cls, name in STORED_NAME.items()}
