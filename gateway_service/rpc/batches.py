"""The calls on many tasks at once: an answer for each item, in order, and none spoils another."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.rpc.status_pb2 import Status

from gateway_service.faults import AnswerFullError, InvalidRequestError
from gateway_service.rpc.errors import to_status
from gateway_service.rpc.requests import read_submission
from gateway_service.use_cases.submit_task import Submission
from shared.codec import task_to_proto
from shared.domain.submission import Limits, Violation
from shared.domain.task import Task
from shared.ports import StoreUnavailableError
from taskcast.v1 import task_pb2
from taskcast.v1 import task_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from google.protobuf.message import Message

    from gateway_service.rpc.requests import SubmissionDefaults
    from gateway_service.use_cases.cancel_task import CancelTask
    from gateway_service.use_cases.get_task import GetTask
    from gateway_service.use_cases.submit_task import SubmitTask

SLICE = 200
"""Items that are worked on in one go: other calls get their turn in between, and the record is not held up."""

ANSWER_BYTES = 7 << 19
"""How large an answer may grow: 3.5 MiB, since a client takes 4 MiB unless it says otherwise."""

_LIMITS = Limits()

Item = TypeVar("Item")


class Batches:
    """BatchSubmitTasks, BatchGetTasks and BatchCancelTasks. Raises what the answer to a whole batch is."""

    def __init__(self, submit: SubmitTask, get: GetTask, cancel: CancelTask, defaults: SubmissionDefaults) -> None:
        self._submit = submit
        self._get = get
        self._cancel = cancel
        self._defaults = defaults

    async def submit(self, tenant: str, request: pb.BatchSubmitTasksRequest) -> pb.BatchSubmitTasksResponse:
        """Record each task.

        Raises InvalidRequestError for a batch that is too large, and StoreUnavailableError if the record is away and
        none of the tasks is known to be recorded. If it goes away on the way, what follows is not tried.
        """
        _check_count("requests", request.requests)
        _check_bytes("requests", request)
        response = pb.BatchSubmitTasksResponse()
        results = _Results(response.results, "BatchSubmitTasks", may_be_left_out=False)
        for part in _slices(request.requests):
            read = [self._read(item) for item in part]
            recorded = await self._submit.all(tenant, [item for item in read if isinstance(item, Submission)])
            answers = iter(recorded)
            for item in read:
                outcome = next(answers) if isinstance(item, Submission) else item
                results.add(outcome if isinstance(outcome, Exception) else outcome.task)
            away = next((answer for answer in recorded if isinstance(answer, StoreUnavailableError)), None)
            if away is not None:
                if not any(result.HasField("task") for result in response.results):
                    raise away
                for _ in range(len(request.requests) - len(response.results)):
                    results.add(away)
                break
        return response

    async def get(self, tenant: str, request: pb.BatchGetTasksRequest) -> pb.BatchGetTasksResponse:
        """Each task as it is, while there is room. Raises InvalidRequestError for too many, StoreUnavailableError."""
        _check_count("task_ids", request.task_ids)
        response = pb.BatchGetTasksResponse()
        results = _Results(response.results, "BatchGetTasks", may_be_left_out=True)
        for part in _slices(request.task_ids):
            for outcome in await self._get.all(tenant, part):
                results.add(outcome)
        return response

    async def cancel(self, tenant: str, request: pb.BatchCancelTasksRequest) -> pb.BatchCancelTasksResponse:
        """Cancel each task. Raises InvalidRequestError for too many or a bad reason, StoreUnavailableError."""
        _check_count("task_ids", request.task_ids)
        response = pb.BatchCancelTasksResponse()
        results = _Results(response.results, "BatchCancelTasks", may_be_left_out=False)
        for part in _slices(request.task_ids):
            for outcome in await self._cancel.all(tenant, part, request.reason):
                results.add(outcome)
        return response

    def _read(self, item: pb.SubmitTaskRequest) -> Submission | InvalidRequestError:
        try:
            return read_submission(item, self._defaults)
        except InvalidRequestError as error:
            return error


class _Results:
    """The results of a batch, as they are added. What many items share, such as a full backlog, is said once.

    What was done is said however full the answer is, then in few words; what was only asked for can be asked for again.
    """

    def __init__(
        self, results: RepeatedCompositeFieldContainer[pb.BatchTaskResult], method: str, *, may_be_left_out: bool
    ) -> None:
        """`may_be_left_out`: whether a task that has no room may be, with an error in its place."""
        self._results = results
        self._method = method
        self._may_be_left_out = may_be_left_out
        self._room = ANSWER_BYTES
        self._full = AnswerFullError("The tasks before this one fill the answer; ask for it in another call.")
        self._statuses: dict[int, tuple[Exception, Status]] = {}

    def add(self, outcome: Task | Exception) -> None:
        """The next item's task, or why there is none."""
        if isinstance(outcome, Task):
            self._add_task(outcome)
            return
        error = self._status(outcome)
        self._results.add(error=error if self._has_room_for(error) else _reason_of(error))

    def _add_task(self, outcome: Task) -> None:
        task = task_to_proto(outcome, payload=False, result=False)
        if self._has_room_for(task):
            self._results.add(task=task)
        elif self._may_be_left_out:
            self._results.add(error=self._status(self._full))
        else:
            self._results.add(task=_in_short(task))

    def _status(self, error: Exception) -> Status:
        known = self._statuses.get(id(error))
        if known is None:
            # The error is kept, too: another one could get its id.
            known = self._statuses[id(error)] = (error, to_status(error, self._method))
        return known[1]

    def _has_room_for(self, message: Message) -> bool:
        self._room -= message.ByteSize()
        return self._room >= 0


def _in_short(task: task_pb2.Task) -> task_pb2.Task:
    return task_pb2.Task(id=task.id, status=task.status, sequence=task.sequence, update_time=task.update_time)


def _reason_of(error: Status) -> Status:
    """The error without the fields that are wrong: the first of the details is the reason."""
    return Status(
        code=error.code, message="The answer is full; what is wrong is said in another call.", details=error.details[:1]
    )


def _check_count(field: str, items: Sequence[object]) -> None:
    if len(items) > _LIMITS.batch_items:
        raise InvalidRequestError(
            [Violation(field, f"must have at most {_LIMITS.batch_items} entries, has {len(items)}")]
        )


def _check_bytes(field: str, request: Message) -> None:
    size = request.ByteSize()
    if size > _LIMITS.batch_bytes:
        raise InvalidRequestError(
            [Violation(field, f"must be at most {_LIMITS.batch_bytes} bytes together, is {size}; send fewer at once")]
        )


def _slices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))
