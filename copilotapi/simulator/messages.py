"""POST /v1/messages: what a request is checked for and what it asks of the model (copilot-wire 7.2, 7.3)."""

from typing import Any

from copilotapi.simulator.answers import JSON, Answer, json_answer, refuse, stream_answer
from copilotapi.simulator.capi import admit, authenticate, find, object_body, token_limit
from copilotapi.simulator.catalogue import MESSAGES, Model
from copilotapi.simulator.message_events import error_event, events, signature, whole
from copilotapi.simulator.message_rules import check_body, check_headers, check_messages
from copilotapi.simulator.prompts import last_user_text, prompt_token_count, text_of
from copilotapi.simulator.replies import Tool, Turn, compose, wishes_in
from copilotapi.simulator.world import Call
