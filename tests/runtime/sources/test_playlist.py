"""What playlists say, and how long they are waited for."""

from __future__ import annotations

import pytest

from s2tf_edge.errors import MissingExtraError
from s2tf_edge.runtime.sources import playlist as playlist_module
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.playlist import Playlist, _find_variant, parse_playlist, read_playlist
from s2tf_edge.runtime.sources.source import READ_SECONDS

LIVE = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:6
#EXT-X-MEDIA-SEQUENCE:17
#EXTINF:6.000000,
17.ts
#EXTINF:5.5,a title
18.ts
#EXTINF:6,
19.ts
#EXTINF:4.25,
20.ts
"""


def test_a_live_playlist_has_a_rhythm_and_no_end() -> None:
    assert parse_playlist(LIVE) == Playlist(target_seconds=6.0, durations=(6.0, 5.5, 6.0, 4.25))


def test_a_playlist_may_have_an_end() -> None:
    found = parse_playlist(LIVE + "#EXT-X-ENDLIST\n")
    assert found is not None
    assert found.has_ended


@pytest.mark.parametrize(
    "text", ["", "<html>not found</html>", "#EXTM3U\n", "#EXTINF:6,\na.ts\n#EXT-X-TARGETDURATION:6\n"]
)
def test_what_is_no_playlist_is_none(text: str) -> None:
    assert parse_playlist(text) is None


@pytest.mark.parametrize(
    ("attributes", "seconds", "ended"),
    [
        ('type="dynamic" minimumUpdatePeriod="PT2S" maxSegmentDuration="PT4.5S"', 4.5, False),
        ('type="dynamic" minimumUpdatePeriod="PT1M10S"', 70.0, False),
        ('mediaPresentationDuration="P1DT2H" maxSegmentDuration="PT6S"', 6.0, True),
        ('type="dynamic" minimumUpdatePeriod="soon" maxSegmentDuration="PT1.2.3S"', 0.0, False),
    ],
)
def test_a_dash_manifest_has_its_rhythm_in_its_head(attributes: str, seconds: float, ended: bool) -> None:
    text = f'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"\n {attributes}><Period/></MPD>'
    assert parse_playlist(text) == Playlist(target_seconds=seconds, has_ended=ended)


@pytest.mark.parametrize(("target", "patience"), [(0, READ_SECONDS), (1, READ_SECONDS), (2, 6), (6, 18), (10**9, 180)])
def test_three_segments_are_waited_for(target: int, patience: float) -> None:
    playlist = Playlist(target_seconds=float(target))
    assert playlist.read_seconds == patience
    # FFmpeg asks again after half a target duration; where that is none, not for ever.
    reloads = int(playlist.options()["max_reload"])
    assert reloads <= 20
    assert reloads * max(target, 1) / 2 > patience


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 15.75),
        ({"live_start_index": "-1"}, 4.25),
        ({"live_start_index": "0"}, 21.75),
        ({"live_start_index": "x"}, 15.75),
    ],
)
def test_what_is_listed_behind_the_beginning_is_known(options: dict[str, str], seconds: float) -> None:
    playlist = parse_playlist(LIVE)
    assert playlist is not None
    assert playlist.listed_seconds(options) == seconds


def test_a_playlist_with_an_end_is_a_recording_unless_it_was_live_before() -> None:
    (source,) = parse_source("https://host/a.m3u8")
    growing, ended = Playlist(target_seconds=2.0), Playlist(target_seconds=2.0, has_ended=True)
    settled = growing.settle(source, is_known=False)
    assert (settled.live, settled.ends, settled.read_seconds) == (True, False, 6.0)
    recording = ended.settle(source, is_known=False)
    assert not recording.live
    over = ended.settle(settled, is_known=True)
    assert (over.live, over.ends) == (True, True)


@pytest.mark.parametrize("text", ["https://user:hunter2@host/a.mpd?token=hunter2", "a.MPD"])
def test_dash_is_refused_where_ffmpeg_lacks_it(text: str) -> None:
    with pytest.raises(MissingExtraError, match=r"give the HLS address .* pip install av$") as caught:
        parse_source(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("away_seconds", "start"), [(0.0, None), (0.1, "-3"), (7.0, "-3"), (15.0, "-4"), (50.0, "-10"), (1e6, "-11")]
)
def test_what_was_missed_is_fetched_up_to_a_minute(away_seconds: float, start: str | None) -> None:
    playlist = Playlist(target_seconds=6.0, durations=(6.0,) * 100)
    assert playlist.options(away_seconds=away_seconds).get("live_start_index") == start


def test_durations_that_cannot_be_are_bounded() -> None:
    playlist = parse_playlist(f"#EXTM3U\n#EXT-X-TARGETDURATION:{'9' * 400}\n#EXTINF:{'9' * 400},\na.ts\n")
    assert playlist is not None
    assert (playlist.read_seconds, playlist.listed_seconds({})) == (180, 3600)
    assert int(playlist.options()["max_reload"]) < 20


@pytest.mark.parametrize("variant", ["file:///secret.m3u8", "pipe:0", "concat:/a|/b", "/secret.m3u8"])
def test_a_playlist_names_no_file_of_this_machine(monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    fetched: list[str] = []

    def fetch(url: str, _: object) -> str:
        fetched.append(url)
        return f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{variant}\n"

    monkeypatch.setattr(playlist_module, "_fetch", fetch)
    assert read_playlist(parse_source("http://host/a/main.m3u8")[0]).target_seconds == 10
    assert all(url.startswith("http://host/") for url in fetched)


def test_no_text_of_others_takes_long_to_read() -> None:
    """What takes twice as long for each line more would never end here."""
    assert _find_variant("#EXT-X-STREAM-INF:BANDWIDTH=1\n" * 1000 + "\n" * 10_000 + "#") is None
    assert (
        _find_variant("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\n# a word\nlow/a.m3u8\nhigh/a.m3u8\n") == "low/a.m3u8"
    )
    assert _find_variant("#EXTM3U\n#EXTINF:2,\na.ts\n") is None
    assert parse_playlist("<MPD " * 800_000) is not None
