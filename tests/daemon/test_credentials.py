from listener.daemon.credentials import FileWatch


def test_what_was_there_at_the_first_look_has_not_changed(tmp_path):
    (tmp_path / "a").write_text("1")
    watch = FileWatch()
    assert watch.look({"crm": [tmp_path / "a"]}) == set()
    assert watch.look({"crm": [tmp_path / "a"]}) == set()


def test_a_file_that_is_replaced_is_told_once_with_whose_it_is(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    watch = FileWatch()
    files = {"crm": [tmp_path / "a"], "bus": [tmp_path / "b"]}
    watch.look(files)
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").rename(tmp_path / "a")
    assert watch.look(files) == {"crm"}
    assert watch.look(files) == set()


def test_a_file_behind_a_link_that_leads_elsewhere_has_changed(tmp_path):
    """A Secret in Kubernetes: the folder behind the link is exchanged."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text("same length")
    (tmp_path / "data").symlink_to("1")
    watch = FileWatch()
    files = {"crm": [tmp_path / "data" / "token"]}
    watch.look(files)
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(tmp_path / "data")
    assert watch.look(files) == {"crm"}


def test_a_file_that_is_away_for_a_moment_has_changed_only_if_it_comes_back_another(tmp_path):
    (tmp_path / "a").write_text("1")
    watch = FileWatch()
    files = {"crm": [tmp_path / "a"]}
    watch.look(files)
    (tmp_path / "a").rename(tmp_path / "away")
    assert watch.look(files) == set()
    (tmp_path / "away").rename(tmp_path / "a")
    assert watch.look(files) == set()
    (tmp_path / "a").unlink()
    assert watch.look(files) == set()
    (tmp_path / "a").write_text("22")
    assert watch.look(files) == {"crm"}


def test_a_sink_that_comes_later_has_not_changed(tmp_path):
    (tmp_path / "a").write_text("1")
    watch = FileWatch()
    watch.look({})
    assert watch.look({"crm": [tmp_path / "a"]}) == set()
