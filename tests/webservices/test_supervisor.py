"""What a supervisor asks, against the simulated site: pages or none, groups in both forms, refusals in words."""

import pytest

from listener.errors import NotFound, OperationForbidden, ParameterInvalid, ServerFault
from listener.simulator import Simulator, SimulatorOptions
from listener.webservices import supervisor
from listener.webservices.supervisor import Person, SupervisorServices


@pytest.fixture
def simulated(stack, connect):
    async def make(**options):
        sim = await stack.enter_async_context(Simulator(SimulatorOptions(supervisors=1, **options)))
        services = await connected(connect, sim.url, start_contact_center_session=True)
        return sim, services

    return make


async def connected(connect, url, **options):
    like = await connect(url)
    chosen = {"username": "supervisor1", "password": lambda: "secret", "request_timeout_s": 5.0} | options
    return SupervisorServices(url=url, http=like._session._http, **chosen)


@pytest.mark.parametrize("page", [None, 2, 1000])
async def test_everybody_is_found_whether_the_server_knows_pages_or_not(simulated, page):
    _, services = await simulated(agents=5, users_page=page)
    people = await services.users()
    assert [one.name for one in people] == [*(f"agent{n}" for n in range(1, 6)), "supervisor1"]
    assert [one.supervises for one in people] == [False] * 5 + [True]


async def test_a_server_that_refuses_pages_is_asked_without(simulated, monkeypatch):
    _, services = await simulated()
    asked = []

    async def users(_self, _path, query):
        asked.append(query)
        if "limit" in query:
            raise ParameterInvalid("limit")
        return [b'{"id":"1"}', b'{"name":"no id"}', b"3"]

    monkeypatch.setattr(SupervisorServices, "_users", users)
    assert await services.users() == [Person(id="1")]
    assert asked[:2] == ["fields=*&limit=500&offset=0", "fields=*"]


@pytest.mark.parametrize(("bound", "most"), [("MOST_USERS", 3), ("_MOST_CHARS", 100)])
async def test_a_list_without_end_is_refused(simulated, monkeypatch, bound, most):
    _, services = await simulated(agents=5, users_page=2)
    monkeypatch.setattr(supervisor, bound, most)
    with pytest.raises(ServerFault, match="the server lists more than"):
        await services.users()


async def test_of_a_user_nothing_is_kept_that_a_server_could_make_large(simulated, monkeypatch):
    _, services = await simulated()

    async def users(_self, _path, _query):
        return [b'{"id":"%s"}' % (b"1" * 257), b'{"id":"2","roles":["%s","ROLE_SUPERVISOR"]}' % (b"x" * 10_000)]

    monkeypatch.setattr(SupervisorServices, "_users", users)
    (one,) = await services.users()
    assert (one.id, one.roles, one.supervises) == ("2", ("SUPERVISOR",), True)


@pytest.mark.parametrize("inline", [True, False])
async def test_a_group_is_found_by_its_name(simulated, inline):
    _, services = await simulated(groups=(("Sales", ("agent1", "agent3")),), groups_list_users=inline)
    assert [one.name for one in await services.group("Sales")] == ["agent1", "agent3"]
    with pytest.raises(NotFound, match=r"there is no group 'sales' \(the server lists: Sales\)"):
        await services.group("sales")


async def test_monitor_join_leave_and_cancel(simulated):
    sim, services = await simulated()
    (first, *_) = await services.users()
    sim.add_chat("C9", ["agent1"])
    await services.monitor(first.id)
    assert sim.supervision.monitored("supervisor1") == ["agent1"]
    assert "C9" in await services.chats_under_way(first.id)
    await services.join(first.id, "C9")
    assert len(await services.chats()) == 1
    await services.leave("C9")
    await services.cancel_monitoring(first.id)
    assert (await services.chats(), sim.supervision.monitored("supervisor1")) == ([], [])


async def test_without_the_contact_center_session_the_server_refuses(stack, connect):
    sim = await stack.enter_async_context(Simulator(SimulatorOptions(supervisors=1)))
    services = await connected(connect, sim.url)
    with pytest.raises(OperationForbidden):
        await services.monitor(sim.center.agents["agent1"].user_id)
