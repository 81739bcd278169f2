"""The options: what a simulator is without any."""

import dataclasses

import pytest

from listener.simulator import Simulator, SimulatorOptions, WorkingDay


def test_without_options_there_are_three_agents_and_the_documented_chat():
    sim = Simulator()
    assert sorted(sim.center.agents) == ["agent1", "agent2", "agent3"]
    assert sim.center.chat_of("agent1", "0000Na9B26EF003M").states == {"agent1": "Chatting"}
    assert not sim.center.chats_of("agent2")


@pytest.mark.parametrize("value", [SimulatorOptions(), WorkingDay(events=1)])
def test_options_are_frozen(value):
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, 0)
