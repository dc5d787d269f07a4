"""The guest API over mutual TLS: routes of coffer_common.wire to the agent's parts.

Checks who asks and what is asked; decides nothing. Every answer from 400 on is an ErrorAnswer.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web
from pydantic import ValidationError

from coffer_common import naming, wire
from coffer_common.errors import CofferError, Transient, UserError
from coffer_guest.engines.base import EngineUnavailable, NotSupported
from coffer_guest.supervisor import Supervisor
from coffer_guest.tasks import TaskConflict, Tasks
from coffer_guest.tls import common_name

_log = logging.getLogger(__name__)

_MAX_WAIT_S: Final = 60.0
_MAX_BODY_BYTES: Final = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Message = TypeVar("Message", bound=wire.Wire)


class Api:
    """The handlers. Changes to databases and users come one after the other."""

    def __init__(self, supervisor: Supervisor, tasks: Tasks) -> None:
        self._supervisor = supervisor
        self._tasks = tasks
        self._changes = asyncio.Lock()

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[answer_errors, only_operator], client_max_size=_MAX_BODY_BYTES
        )
        app.add_routes(
            [
                web.get(wire.STATUS_PATH, self.status),
                web.post(wire.ENGINE_PATH + "/{action}", self.engine_action),
                web.get(wire.DATABASES_PATH, self.list_databases),
                web.put(wire.DATABASES_PATH + "/{name}", self.put_database),
                web.delete(wire.DATABASES_PATH + "/{name}", self.delete_database),
                web.get(wire.USERS_PATH, self.list_users),
                web.put(wire.USERS_PATH + "/{name}", self.put_user),
                web.delete(wire.USERS_PATH + "/{name}", self.delete_user),
                web.put(wire.TASKS_PATH + "/{id}", self.put_task),
                web.get(wire.TASKS_PATH + "/{id}", self.get_task),
                web.delete(wire.TASKS_PATH + "/{id}", self.delete_task),
                web.put(wire.CONFIGURATION_PATH, self.put_configuration),
                web.get(wire.CONFIGURATION_DEFAULTS_PATH, self.configuration_defaults),
                web.get(wire.LOGS_PATH + "/{name}", self.log),
            ]
        )
        return app

    # --- status and engine ----------------------------------------------------------------------
    async def status(self, request: web.Request) -> web.StreamResponse:
        try:
            wait_s = float(request.query.get("wait", "0"))
        except ValueError:
            wait_s = math.nan
        if not wait_s >= 0:
            raise UserError("InvalidRequest", "wait is a number of seconds")
        status = await self._supervisor.board.wait(
            request.query.get("seen"), min(wait_s, _MAX_WAIT_S)
        )
        return _json(status)

    async def engine_action(self, request: web.Request) -> web.StreamResponse:
        try:
            action = wire.EngineAction(request.match_info["action"])
        except ValueError as error:
            raise web.HTTPNotFound from error
        body = await _read(request, wire.EngineRequest)
        return _json(await self._supervisor.request(action, body.token), 202)

    # --- databases and users --------------------------------------------------------------------
    async def list_databases(self, _: web.Request) -> web.StreamResponse:
        databases = await self._supervisor.running_engine().databases()
        return _json(wire.DatabaseList(databases=tuple(databases)))

    async def put_database(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, wire.DatabaseRequest)
        engine = self._supervisor.running_engine()
        return await self._change(engine.ensure_database(request.match_info["name"], body))

    async def delete_database(self, request: web.Request) -> web.StreamResponse:
        engine = self._supervisor.running_engine()
        return await self._change(engine.drop_database(request.match_info["name"]))

    async def list_users(self, _: web.Request) -> web.StreamResponse:
        users = await self._supervisor.running_engine().users()
        return _json(wire.UserList(users=tuple(users)))

    async def put_user(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, wire.UserRequest)
        engine = self._supervisor.running_engine()
        return await self._change(engine.ensure_user(request.match_info["name"], body))

    async def delete_user(self, request: web.Request) -> web.StreamResponse:
        host = request.query.get("host", "%")
        engine = self._supervisor.running_engine()
        return await self._change(engine.drop_user(request.match_info["name"], host))

    async def _change(self, change: Awaitable[None]) -> web.StreamResponse:
        async with self._changes:
            await change
        self._supervisor.health.forget_inventory()
        self._supervisor.wake()
        return web.Response(status=204)

    # --- tasks, configuration, logs -------------------------------------------------------------
    async def put_task(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, wire.TaskRequest)
        return _json(await self._tasks.put(request.match_info["id"], body), 202)

    async def get_task(self, request: web.Request) -> web.StreamResponse:
        task = self._tasks.get(request.match_info["id"])
        if task is None:
            raise web.HTTPNotFound
        return _json(task)

    async def delete_task(self, request: web.Request) -> web.StreamResponse:
        await self._tasks.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def put_configuration(self, request: web.Request) -> web.StreamResponse:
        """Kept on the volume when this is answered; what comes of it is in the status."""
        body = await _read(request, wire.ConfigurationRequest)
        await self._supervisor.configure(body)
        return web.Response(status=202)

    async def configuration_defaults(self, _: web.Request) -> web.StreamResponse:
        config, engine = self._supervisor.config, self._supervisor.engine
        if config is None or engine is None:
            raise EngineUnavailable("the agent has no configuration yet", 1.0)
        text = await self._supervisor.template.text(config)
        return _json(wire.ConfigurationDefaults(values=engine.parse(text)))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """The engine's log, whole or by Range; `engine.1` is the part before."""
        path = self._supervisor.settings.paths.engine_log
        paths = {"engine": path, "engine.1": path.with_name(f"{path.name}.1")}
        found = paths.get(request.match_info["name"])
        if found is None or not found.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(found, headers={"Content-Type": "text/plain; charset=utf-8"})


# --- middlewares --------------------------------------------------------------------------------
@web.middleware
async def only_operator(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The certificate is signed by our authority, or there were no connection; whose is it?"""
    transport = request.transport
    peer = common_name(transport.get_extra_info("peercert")) if transport else None
    if peer != naming.OPERATOR_COMMON_NAME:
        return _error(403, "Forbidden", "only the operator may ask")
    return await handler(request)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as an ErrorAnswer, by its policy."""
    try:
        return await handler(request)
    except CofferError as error:
        return _by_policy(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _error(error.status, error.reason.title().replace(" ", ""), request.path)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:  # noqa: BLE001 - the boundary of a request: the next one may be better
        _log.exception("%s %s", request.method, request.path)
        return _error(500, "Internal", "an unexpected error; see the agent's log")


def _by_policy(error: CofferError) -> web.Response:
    if isinstance(error, TaskConflict):
        return _error(409, "TaskConflict", str(error), error.retry_after_s)
    if isinstance(error, NotSupported):
        return _error(501, error.reason, error.message)
    if isinstance(error, UserError):
        return _error(400 if error.reason == "InvalidRequest" else 422, error.reason, error.message)
    if isinstance(error, Transient):
        reason = type(error).__name__ if type(error) is not Transient else "TryAgain"
        return _error(503, reason, str(error), error.retry_after_s or 1.0)
    return _error(500, "Permanent", str(error))


async def _read(request: web.Request, model: type[Message]) -> Message:
    """The body as `model`. Raises UserError without repeating what was sent: it may be secret."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        details = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['type']}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise UserError("InvalidRequest", f"{model.__name__}: {details}") from None


def _json(message: wire.Wire, status: int = 200) -> web.Response:
    return web.Response(
        text=message.model_dump_json(), status=status, content_type="application/json"
    )


def _error(
    status: int, reason: str, message: str, retry_after_s: float | None = None
) -> web.Response:
    answer = wire.ErrorAnswer(
        reason=reason, message=" ".join(message.split()), retry_after_s=retry_after_s
    )
    response = _json(answer, status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after_s))
    return response
