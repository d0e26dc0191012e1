"""A taskset and a harness for verifiers: each task is one question, sent to the model in one HTTP request."""

import httpx
import verifiers.v1 as vf

from tests.frameworks.rollouts import GROUPS

__all__ = ["ScriptedChat", "ScriptedTaskset"]


class ScriptedChatConfig(vf.HarnessConfig):  # type: ignore[misc]
    """Nothing to set."""


class ScriptedChat(vf.Harness[ScriptedChatConfig]):  # type: ignore[misc]
    """Sends one chat completion per task."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
        tool_interception_url: str | None = None,
    ) -> vf.ProgramResult:
        """One chat completion through the endpoint that verifiers listens on."""
        body = {"model": ctx.model, "messages": [{"role": "user", "content": data.prompt}]}
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            answer = await http.post(f"{endpoint}/chat/completions", json=body)
        answer.raise_for_status()
        return vf.ProgramResult(0, "", "")


class ScriptedTask(vf.Task[vf.TaskData]):  # type: ignore[misc]
    """Has no reward of its own."""


class ScriptedTaskset(vf.Taskset[ScriptedTask, vf.TasksetConfig]):  # type: ignore[misc]
    """One task per group."""

    def load(self) -> list[ScriptedTask]:
        """The tasks."""
        return [ScriptedTask(vf.TaskData(prompt=prompt), self.config.task) for prompt in GROUPS]
