"""What may be asked: one Struct per message of the wire contract, gathered from one file per group.

A command says what its sender wants; whether it happens is decided in ``decide``. Wire names and fields are those of
the specification; amounts are still as they were written (`Budget`), because a refusal must be able to name the field.
What only the fleet's own actors ask is in ``proposals``.
"""

from tallystick.config.kinds import NAME_MAX as NAME_MAX
from tallystick.events.messages.access import CreateKey as CreateKey
from tallystick.events.messages.access import ListKeys as ListKeys
from tallystick.events.messages.access import RevokeKey as RevokeKey
from tallystick.events.messages.allocate import AllocateBudget as AllocateBudget
from tallystick.events.messages.allocate import AllocateByPriority as AllocateByPriority
from tallystick.events.messages.allocate import AllocateEqual as AllocateEqual
from tallystick.events.messages.allocate import AllocateFromPool as AllocateFromPool
from tallystick.events.messages.allocate import AllocateProportional as AllocateProportional
from tallystick.events.messages.command import INTERNAL_ID as INTERNAL_ID
from tallystick.events.messages.command import MESSAGES_MAX as MESSAGES_MAX
from tallystick.events.messages.command import PRIORITIES as PRIORITIES
from tallystick.events.messages.command import Command as Command
from tallystick.events.messages.command import Name as Name
from tallystick.events.messages.command import Reason as Reason
from tallystick.events.messages.command import internal_id as internal_id
from tallystick.events.messages.enforce import CheckEnforcement as CheckEnforcement
from tallystick.events.messages.enforce import Resume as Resume
from tallystick.events.messages.enforce import Stop as Stop
from tallystick.events.messages.enforce import Throttle as Throttle
from tallystick.events.messages.from_child import FromChild as FromChild
from tallystick.events.messages.operate import AcceptClock as AcceptClock
from tallystick.events.messages.operate import ApproveLimit as ApproveLimit
from tallystick.events.messages.operate import BudgetChange as BudgetChange
from tallystick.events.messages.operate import CorrectUsage as CorrectUsage
from tallystick.events.messages.operate import LoadConfig as LoadConfig
from tallystick.events.messages.operate import MaxChange as MaxChange
from tallystick.events.messages.operate import OverridePriority as OverridePriority
from tallystick.events.messages.operate import PauseAll as PauseAll
from tallystick.events.messages.operate import RecordReconciliation as RecordReconciliation
from tallystick.events.messages.operate import ReleaseReserve as ReleaseReserve
from tallystick.events.messages.operate import ResetBreaker as ResetBreaker
from tallystick.events.messages.operate import ResumeAll as ResumeAll
from tallystick.events.messages.operate import SetTotalBudget as SetTotalBudget
from tallystick.events.messages.reallocate import BorrowFromPool as BorrowFromPool
from tallystick.events.messages.reallocate import Rebalance as Rebalance
from tallystick.events.messages.reallocate import ReturnToPool as ReturnToPool
from tallystick.events.messages.release import ReleaseBudget as ReleaseBudget
from tallystick.events.messages.report import Forecast as Forecast
from tallystick.events.messages.report import GenerateReport as GenerateReport
from tallystick.events.messages.report import GetEfficiency as GetEfficiency
from tallystick.events.messages.tasks import CancelTask as CancelTask
from tallystick.events.messages.tasks import CompleteTask as CompleteTask
from tallystick.events.messages.tasks import GetQueue as GetQueue
from tallystick.events.messages.tasks import GetTask as GetTask
from tallystick.events.messages.tasks import RetryTask as RetryTask
from tallystick.events.messages.tasks import SubmitTask as SubmitTask
from tallystick.events.messages.tasks import TaskOutcome as TaskOutcome
from tallystick.events.messages.track import CancelHold as CancelHold
from tallystick.events.messages.track import GetGlobalStatus as GetGlobalStatus
from tallystick.events.messages.track import GetHolds as GetHolds
from tallystick.events.messages.track import GetLimits as GetLimits
from tallystick.events.messages.track import GetStatus as GetStatus
from tallystick.events.messages.track import Heartbeat as Heartbeat
from tallystick.events.messages.track import HoldState as HoldState
from tallystick.events.messages.track import ReportUsage as ReportUsage
from tallystick.events.messages.track import Reserve as Reserve
from tallystick.events.messages.track import Settle as Settle
from tallystick.events.messages.track import Sourced as Sourced
from tallystick.events.messages.track import Spending as Spending

WIRE: tuple[type[Command], ...] = (
    AllocateBudget,
    AllocateEqual,
    AllocateProportional,
    AllocateByPriority,
    AllocateFromPool,
    ReportUsage,
    Reserve,
    Settle,
    CancelHold,
    Heartbeat,
    GetHolds,
    GetLimits,
    GetStatus,
    GetGlobalStatus,
    CheckEnforcement,
    Throttle,
    Stop,
    Resume,
    Rebalance,
    BorrowFromPool,
    ReturnToPool,
    GenerateReport,
    Forecast,
    GetEfficiency,
    ReleaseBudget,
    SubmitTask,
    GetTask,
    CompleteTask,
    CancelTask,
    RetryTask,
    GetQueue,
    SetTotalBudget,
    PauseAll,
    ResumeAll,
    OverridePriority,
    ApproveLimit,
    ResetBreaker,
    ReleaseReserve,
    AcceptClock,
    CorrectUsage,
    RecordReconciliation,
    LoadConfig,
    CreateKey,
    RevokeKey,
    ListKeys,
)
