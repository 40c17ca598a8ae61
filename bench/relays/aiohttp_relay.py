"""The same job on aiohttp and uvloop: `python aiohttp_relay.py PORT`, with the upstream's URL in UPSTREAM."""

import json
import os
import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

_UPSTREAM = os.environ["UPSTREAM"] + "/chat/completions"
_HEADERS = {
    "Authorization": "Bearer bench",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "Editor-Version": "vscode/1.104.1",
    "Editor-Plugin-Version": "copilot-chat/0.31.0",
    "Copilot-Integration-Id": "vscode-chat",
}
_session = web.AppKey("session", ClientSession)


async def chat(request: web.Request) -> web.StreamResponse:
    given = await request.read()
    body = json.loads(given)
    if not isinstance(body.get("messages"), list) or not isinstance(body.get("model"), str):
        return web.json_response({"error": {"message": "messages and model are needed"}}, status=400)
    async with request.app[_session].post(_UPSTREAM, data=given, headers=_HEADERS) as upstream:
        kind = upstream.headers.get("Content-Type", "application/json")
        if not body.get("stream"):
            return web.Response(body=await upstream.read(), status=upstream.status, headers={"Content-Type": kind})
        reply = web.StreamResponse(status=upstream.status, headers={"Content-Type": kind})
        await reply.prepare(request)
        async for block in upstream.content.iter_any():
            await reply.write(block)
        await reply.write_eof()
        return reply


async def application() -> web.Application:
    app = web.Application(client_max_size=20_000_000)
    app[_session] = ClientSession(connector=TCPConnector(limit=0))
    app.router.add_post("/v1/chat/completions", chat)
    return app


if __name__ == "__main__":
    web.run_app(
        application(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=8192,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )
