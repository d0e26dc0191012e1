"""The endpoints that read the ledger; what they return is in `ledger.ledger_wire`."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path as FolderPath
from typing import Annotated, Any, cast

import orjson
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from ireasoner.reward_server.api.json_body import MeasuredRoute
from ireasoner.reward_server.api.problems import documented
from ireasoner.reward_server.api.query_parameters import refuse_unknown_parameters
from ireasoner.reward_server.api.routes import SCORING_ERRORS
from ireasoner.reward_server.api.tokens import limited_to, turns_of
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import (
    DeadlineExceeded,
    HeadTooLarge,
    InternalError,
    LedgerUnreadable,
    MalformedRequest,
    NoLedger,
    NoSuchRecord,
    NotReady,
    Overloaded,
    RequestTooLarge,
    Unauthorized,
)
from ireasoner.reward_server.ledger import (
    comparison_list,
    export,
    group_list,
    ledger_wire,
    rescoring,
    run_list,
    served_image,
    timeline,
    whole_group,
)
from ireasoner.reward_server.ledger.audit_of_run import audit_of
from ireasoner.reward_server.ledger.changes import Change, Changes
from ireasoner.reward_server.ledger.cosines import cosines, footprint
from ireasoner.reward_server.ledger.decoding import Decoding
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.reads import Reads
from ireasoner.reward_server.ledger.recorder import Recorder, Status
from ireasoner.reward_server.ledger.search import MAX_CHARACTERS, SearchText
from ireasoner.reward_server.memory import Claim
from ireasoner.reward_server.scoring.scorer import Caller

router = APIRouter(dependencies=[Depends(refuse_unknown_parameters)])
body_router = APIRouter(route_class=MeasuredRoute)

_LISTED = (
    Unauthorized,
    NoLedger,
    HeadTooLarge,
    InternalError,
    NotReady,
    LedgerUnreadable,
    DeadlineExceeded,
)
LIST_PROBLEMS = documented(*_LISTED, MalformedRequest)
RECORD_PROBLEMS = documented(*_LISTED, MalformedRequest, NoSuchRecord)
GROUP_PROBLEMS = IMAGE_PROBLEMS = documented(
    *_LISTED, MalformedRequest, NoSuchRecord, Overloaded, RequestTooLarge
)
EVENT_PROBLEMS = documented(*_LISTED, MalformedRequest, NoSuchRecord, Overloaded)
COSINE_PROBLEMS = documented(*SCORING_ERRORS)
COMPARE_PROBLEMS = documented(*SCORING_ERRORS, NoLedger, NoSuchRecord, LedgerUnreadable)

EVENT_STREAM = "text/event-stream"
JSON_LINES = "application/jsonl"
IMAGE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
}


def install(app: FastAPI, folders: Sequence[FolderPath]) -> None:
    """Adds the endpoints, which read the ledgers of these folders, to the app; without folders they answer NoLedger."""
    app.state.ledger_reads = reads = Reads(Ledgers(folders) if folders else None)
    app.state.served_images = Decoding("served images")
    app.state.ledger_changes = Changes(reads, lambda: cast(Engine, app.state.engine).is_draining)
    app.include_router(router)
    app.include_router(body_router)


class _Reading:
    """The ledgers, and who reads."""

    def __init__(self, request: Request) -> None:
        experiment = request.state.experiment
        self.viewer = Viewer(limited_to(experiment))
        self.reads = cast(Reads, request.app.state.ledger_reads)
        self.changes = cast(Changes, request.app.state.ledger_changes)
        self.images = cast(Decoding, request.app.state.served_images)
        self.request = request

    @property
    def engine(self) -> Engine:
        return cast(Engine, self.request.app.state.engine)

    @property
    def claim(self) -> Claim:
        return cast(Claim, self.request.state.claim)

    @property
    def recording(self) -> Status | None:
        recorder = cast(Recorder | None, self.request.app.state.recorder)
        return None if recorder is None else recorder.status

    def dropped(self) -> int:
        """Groups that were not recorded, if the viewer may know."""
        status = self.recording
        return 0 if status is None or self.viewer.experiment is not None else sum(status.dropped.values())


Reading = Annotated[_Reading, Depends()]
RunId = Annotated[str, Path(max_length=24, description="Id of a run.")]
GroupId = Annotated[str, Path(max_length=24, description="Id of a group.")]


def _json(value: Any, claim: Claim) -> Response:
    written = orjson.dumps(value)
    claim.hold(len(written))
    return Response(written, media_type="application/json")


def _query(
    run: Annotated[str | None, Query(max_length=24, description="Id of a run; all runs if omitted.")] = None,
    sort: Annotated[
        ledger_wire.Sort, Query(description="Figure to sort by; groups without it are left out.")
    ] = "received_s",
    order: Annotated[ledger_wire.Order, Query(description="Largest or smallest first.")] = "desc",
    flag: Annotated[
        list[ledger_wire.Flag],
        Query(
            max_length=7,
            description="Repeatable; a group must have all of them. `flat`: all rewards are equal.",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
    endpoint: Annotated[
        ledger_wire.EndpointName | None, Query(description="Endpoint that scored it.")
    ] = None,
    update_from: Annotated[int | None, Query(ge=0, le=2**53 - 1, description="First update.")] = None,
    update_until: Annotated[int | None, Query(ge=0, le=2**53 - 1, description="Last update.")] = None,
    received_from_s: Annotated[
        float | None,
        Query(ge=0, le=2**53 - 1, description="Scored at this time or later; seconds since 1970."),
    ] = None,
    received_until_s: Annotated[
        float | None, Query(ge=0, le=2**53 - 1, description="Scored before this time; seconds since 1970.")
    ] = None,
    min_dominant_share: Annotated[float | None, Query(ge=0, le=1)] = None,
    max_dominant_share: Annotated[float | None, Query(ge=0, le=1)] = None,
    question: Annotated[str | None, Query(max_length=24, description="A `question_id`.")] = None,
    image: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="SHA-256 of an image, in hexadecimal.")
    ] = None,
    q: Annotated[
        str,
        Query(
            max_length=MAX_CHARACTERS,
            description="Text anywhere in the question, an answer or a step, in any case; it has no operators.",
        ),
    ] = "",
) -> GroupQuery:
    return GroupQuery(
        run=None if run is None else RecordId.parse(run),
        sort=sort,
        order=order,
        flags=tuple(flag),
        endpoint=endpoint,
        update_from=update_from,
        update_until=update_until,
        received_from_s=received_from_s,
        received_until_s=received_until_s,
        min_dominant_share=min_dominant_share,
        max_dominant_share=max_dominant_share,
        question=None if question is None else RecordId.parse(question),
        image=image,
        text=SearchText(q),
    )


Filter = Annotated[GroupQuery, Depends(_query)]


@router.get("/ledger/runs", responses=LIST_PROBLEMS)
async def list_runs(reading: Reading) -> ledger_wire.Runs:
    """Lists the runs that the caller may see, and how recording goes."""
    return await reading.reads.run(run_list.runs, reading.viewer, reading.recording)


@router.get("/ledger/runs/{run}/timeline", responses=RECORD_PROBLEMS)
async def run_timeline(
    run: RunId,
    reading: Reading,
    endpoint: Annotated[ledger_wire.EndpointName | None, Query(description="Only what it scored.")] = None,
    since: Annotated[
        int | None, Query(alias="from", ge=0, le=2**53 - 1, description="First update or minute.")
    ] = None,
    until: Annotated[int | None, Query(ge=0, le=2**53 - 1, description="Last update or minute.")] = None,
    points: Annotated[int, Query(ge=1, le=2_000, description="Most points.")] = 400,
) -> ledger_wire.Timeline:
    """Shows a run's figures over its updates, or over minutes if its requests give no update."""
    return await reading.reads.run(
        timeline.timeline, reading.viewer, RecordId.parse(run), endpoint, since, until, points
    )


@router.get("/ledger/runs/{run}/audit", responses=RECORD_PROBLEMS)
async def run_audit(run: RunId, reading: Reading) -> ledger_wire.Audit:
    """Says whether a run looks as if it collapses, as `ireasoner audit` does, but reads no texts of steps."""
    return await reading.reads.run(audit_of, reading.viewer, RecordId.parse(run))


@router.get(
    "/ledger/events",
    response_class=StreamingResponse,
    responses={**EVENT_PROBLEMS, 200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}},
)
async def ledger_events(
    reading: Reading, run: Annotated[str | None, Query(max_length=24, description="Id of a run.")] = None
) -> Response:
    """Sends an event for new groups, as server-sent events, until the caller leaves."""
    only = None if run is None else RecordId.parse(run)
    listened = await reading.changes.listen(reading.viewer, only)
    return StreamingResponse(
        _events(listened, reading.dropped), media_type=EVENT_STREAM, headers={"cache-control": "no-store"}
    )


async def _events(changes: AsyncIterator[Change | None], dropped: Callable[[], int]) -> AsyncIterator[bytes]:
    async for change in changes:
        if change is None:
            yield b": nothing new\n\n"
            continue
        data = {
            "run": str(change.run),
            "last_group": str(change.last_group),
            "groups": change.groups,
            "dropped": dropped(),
        }
        yield b"event: groups\ndata: " + orjson.dumps(data) + b"\n\n"


@router.get("/ledger/groups", responses=RECORD_PROBLEMS)
async def list_groups(
    query: Filter,
    reading: Reading,
    limit: Annotated[int, Query(ge=1, le=200, description="Groups of a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=256, description="`next` of the page before.")] = None,
) -> ledger_wire.Groups:
    """Lists groups, filtered and sorted, page by page."""
    return await reading.reads.run(group_list.page, reading.viewer, query, limit, cursor)


@router.get(
    "/ledger/groups.jsonl",
    response_class=StreamingResponse,
    responses={**RECORD_PROBLEMS, 200: {"content": {JSON_LINES: {"schema": {"type": "string"}}}}},
)
async def export_groups(query: Filter, reading: Reading) -> Response:
    """Exports whole groups, filtered and sorted, as JSON lines."""
    lines = export.Lines(reading.reads, reading.viewer, query)
    return StreamingResponse(await lines.start(), media_type=JSON_LINES)


@router.get("/ledger/groups/{group}", response_model=ledger_wire.WholeGroup, responses=GROUP_PROBLEMS)
async def get_group(group: GroupId, reading: Reading) -> Response:
    """Shows a group with everything that is known of it."""
    found = await reading.reads.run(whole_group.whole, reading.viewer, RecordId.parse(group))
    return _json(found, reading.claim)


@router.get("/ledger/groups/{group}/neighbours", responses=RECORD_PROBLEMS)
async def group_neighbours(group: GroupId, reading: Reading) -> ledger_wire.Neighbours:
    """Lists the groups of the run with the same question or image that are nearest in time."""
    return await reading.reads.run(whole_group.neighbours, reading.viewer, RecordId.parse(group))


@router.get(
    "/ledger/images/{sha256}",
    response_class=Response,
    responses={
        **IMAGE_PROBLEMS,
        200: {"content": {served_image.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
    },
)
async def get_image(
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.")],
    reading: Reading,
) -> Response:
    """Shows an image, encoded anew."""
    if reading.request.headers.get("if-none-match") == f'"{sha256}"':
        await reading.reads.run(served_image.image_file, reading.viewer, sha256)
        return Response(status_code=304, headers=IMAGE_HEADERS)
    data, needed_bytes = await reading.reads.run(served_image.kept, reading.viewer, sha256)
    reading.claim.hold(needed_bytes + len(data))
    encoded = await reading.images.run(partial(served_image.written_anew, sha256, data), reading.claim)
    return Response(
        encoded, headers={**IMAGE_HEADERS, "etag": f'"{sha256}"'}, media_type=served_image.MEDIA_TYPE
    )


@router.get("/ledger/comparisons", responses=LIST_PROBLEMS)
async def list_comparisons(reading: Reading) -> ledger_wire.Comparisons:
    """Lists the comparisons that `ireasoner rescore` made."""
    return await reading.reads.run(comparison_list.comparisons, reading.viewer)


@router.get("/ledger/comparisons/{name}", responses=RECORD_PROBLEMS)
async def get_comparison(
    name: Annotated[str, Path(max_length=128, description="Name of a comparison.")],
    reading: Reading,
    sort: Annotated[ledger_wire.ComparisonSort, Query(description="The largest first.")] = "change",
    limit: Annotated[int, Query(ge=1, le=200, description="Groups of a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=256, description="`next` of the page before.")] = None,
) -> ledger_wire.ComparedGroups:
    """Lists the groups of a comparison, page by page."""
    return await reading.reads.run(comparison_list.compared_groups, reading.viewer, name, sort, limit, cursor)


@body_router.post("/ledger/cosines", response_model=ledger_wire.Cosines, responses=COSINE_PROBLEMS)
async def compare_steps(body: ledger_wire.StepTexts, reading: Reading) -> Response:
    """Compares steps with each other by the server's embedder."""
    batcher = reading.engine.batcher
    reading.claim.hold(footprint(len(body.steps), batcher.backend.dimension))
    rows = await batcher.embed(body.steps, turns_of(reading.request.state.experiment))
    return _json(
        {"embedder": batcher.backend.name, "cosines": cosines(rows.stacked(body.steps))}, reading.claim
    )


@body_router.post("/ledger/compare", response_model=ledger_wire.BothScored, responses=COMPARE_PROBLEMS)
async def compare_configs(body: ledger_wire.TwoConfigs, reading: Reading) -> Response:
    """Scores a stored group anew under two configs."""
    state = reading.request.state
    stored = await reading.reads.run(whole_group.whole, reading.viewer, RecordId.parse(body.group))
    caller = Caller(state.request_id, state.namespace, state.claim, turns=turns_of(state.experiment))
    rescore = partial(rescoring.rescored, reading.engine.scorer, reading.engine.configs, stored, caller)
    results = [await rescore(config) for config in body.configs]
    summary = {name: stored[name] for name in ledger_wire.Summary.model_fields}
    return _json({"group": summary, "scored": results}, reading.claim)
