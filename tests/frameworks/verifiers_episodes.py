"""Runs verifiers' own episodes with a scripted model behind its interception, and writes the rewards.

python -m tests.frameworks.verifiers_episodes FILE
"""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import verifiers.v1 as vf
from verifiers.v1.clients import EvalClientConfig

from ireasoner.clients.verifiers_reward import AgreementEnv, AgreementEnvConfig
from tests.frameworks.rollouts import DIALECTS, GROUP_SIZE, Dialect

TASKSET = "scripted_chat"


class Model(BaseHTTPRequestHandler):
    """An OpenAI-compatible model that returns the texts of each prompt in turn."""

    texts: ClassVar[dict[str, list[str]]] = {}

    def do_POST(self) -> None:
        """One chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = self.texts[body["messages"][-1]["content"]].pop(0)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        sent = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


async def episodes(url: str, dialect: Dialect) -> dict[str, list[Any]]:
    """One episode per task."""
    Model.texts = {prompt: list(texts) for prompt, texts in dialect.groups.items()}
    agent = {"harness": {"id": TASKSET}, "runtime": {"type": "subprocess"}}
    config = AgreementEnvConfig(
        taskset={"id": TASKSET},
        n=GROUP_SIZE,
        max_concurrent_agents=GROUP_SIZE,
        agent=agent,
        reward_config=dialect.config,
    )
    environment = AgreementEnv(config)
    context = vf.ModelContext(model="m", client=EvalClientConfig(base_url=url, api_key_var="MODEL_KEY"))
    got = {}
    async with environment.serving():
        for task in environment.taskset:
            episode = await environment.run_episode(task, context)
            assert episode.ok, (episode.errors, [trace.errors for trace in episode.traces])
            got[task.data.prompt] = [
                [trace.last_reply, trace.rewards["agreement"].score, trace.metrics["agreement_outcome"]]
                for trace in episode.traces
            ]
    return got


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))  # verifiers' plugins are top-level modules
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    done = {name: asyncio.run(episodes(address, dialect)) for name, dialect in DIALECTS.items()}
    Path(sys.argv[1]).write_text(json.dumps(done))
