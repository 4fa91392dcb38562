"""API keys: make, list, revoke."""

import secrets
from datetime import datetime

from fastapi import APIRouter
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.params import Cursor, KeyId, Limit
from api.replies import listed, reply
from api.requests import KeyBody
from api.services import Admin, Desk
from api.shapes.catalog import KeyList, KeyOut, NewKeyOut
from api.views import key_view
from domain.acceptance import Page
from domain.auth import KEY_BYTES, mint_key, sees_every_owner
from domain.errors import ConflictError, ForbiddenError, InvalidRequestError
from domain.principal import ApiKey, Scope

router = APIRouter(tags=["keys"], route_class=JsonRoute)


@router.post(
    "/v1/keys",
    operation_id="create_key",
    status_code=201,
    responses={
        201: {"model": NewKeyOut, "description": "Made; `key` is shown here only."},
        409: {},
    },
)
async def create_key(desk: Desk, access: Admin, body: KeyBody) -> Response:
    """Make an API key. Its secret is in this answer and nowhere else.

    The first key turns authentication on, and so has to hold `admin`.
    """
    if Scope.ADMIN not in body.scopes and await desk.authenticator.is_open():
        raise ConflictError("the first key must hold admin: without one nobody could make another")
    now = desk.ports.clock.now_ms()
    minted = mint_key(secrets.token_bytes(KEY_BYTES))
    key = ApiKey(
        key_id=desk.ports.intake.ids.new("key"),
        owner=_owner(access, body.owner),
        name=body.name,
        prefix=minted.prefix,
        scopes=tuple(dict.fromkeys(body.scopes)),
        created_at=now,
        expires_at=_expiry(body.expires_at, now),
        revoked_at=None,
    )
    await desk.ports.keys.add_key(key, minted.digest)
    desk.authenticator.forget()
    desk.keeper.revoke(None)
    return reply({**key_view(key), "key": minted.secret}, 201)


@router.get("/v1/keys", operation_id="list_keys", responses={200: {"model": KeyList}})
async def list_keys(
    desk: Desk, access: Admin, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List keys, newest first, without their secrets; the operator sees those of every owner."""
    keys, following = await desk.ports.keys.list_keys(_reach(access), Page(limit, cursor))
    return listed("keys", [key_view(key) for key in keys], following)


@router.delete(
    "/v1/keys/{key_id}",
    operation_id="revoke_key",
    responses={200: {"model": KeyOut}, 404: {}},
)
async def revoke_key(desk: Desk, access: Admin, key_id: KeyId) -> Response:
    """Revoke a key for good. Streams that it opened end at once."""
    now = desk.ports.clock.now_ms()
    key = await desk.ports.keys.revoke_key(_reach(access), key_id, now)
    desk.authenticator.forget()
    desk.keeper.revoke(key_id)
    return reply(key_view(key))


def _reach(access: Access) -> str | None:
    return None if sees_every_owner(access.who) else access.who.owner


def _owner(access: Access, asked: str | None) -> str:
    if asked is None or asked == access.who.owner:
        return access.who.owner
    if not sees_every_owner(access.who):
        raise ForbiddenError("only the operator makes keys for another owner")
    return asked


def _expiry(at: datetime | None, now_ms: int) -> int | None:
    if at is None:
        return None
    expires_ms = int(at.timestamp() * 1000)
    if expires_ms <= now_ms:
        raise InvalidRequestError("expires_at lies in the past", field="expires_at")
    return expires_ms
