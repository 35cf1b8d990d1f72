"""What lies in the state of a running job is read by the kimi_beam that takes it over, or refused in as many words.

The bytes here are what the present version writes. Where a change makes one of these tests fail, a job that is being
updated on Dataflow or Flink would misread its state: give the format another version number and pin the new bytes. From
the first release on, a version that was released is read for ever: keep its bytes here and have them read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from conftest import ROOT
from harness import ACCOUNT, RECEIPT, service

import kimi_beam as kb
from kimi_beam.errors import StateError
from kimi_beam.queue import jobs
from kimi_beam.queue.jobs import Job, Shard
from kimi_beam.queue.state_layout import Layout
from kimi_beam.request import batches
from kimi_beam.request.batches import NO_KEY, Item, Spent
from kimi_beam.types.answer import Usage
from kimi_beam.types.document import Arrival, Document, FileContent, Part
from kimi_beam.types.earlier_runs import Earlier, RefusedAnswer
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import OpenRequest
from pipelines import stream

BATCH_5 = bytes.fromhex(
    "05810000000400000000000001be78000000000000000000000000000000187301000000000007000000000000002f42665b"
    "399ef840754f854de3c27284b82646b7595d6bf97b8ca8bc56e5a5b56b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b000000000000"
    "0000000000000000000000ff00ff00ff00ff00ff00ff00ff00ff000102030405060708090a0b0c0d0e0f0000011200000000"
    "0000000e28b52ffd60be00450800b652382130a75807a858ba206eb1c36c05a8f453868141695d51d427db672e37301818a8"
    "122e0030002f000cc9ce3ab5d1b90e4b57ef39afc3f7231fd1004113e92c03451e910fddf86e48088149a4e37bf1ad7ece51"
    "e3580a3722ce88c07c48df8d2ee4e7bc50e471345afa7a8713b442b1585c316ca44b40434212a7539b863a1cdfd322286786"
    "74ced03a0fa46be92d46a57cc76d9845138883a1a034b694af945287e7bc8f132d9d1124fe468fc65b0d76162c83a90e1384"
    "8dadb733f576f6f59ef3940b897c082708d9d7955b2dd69482e18048e8c2341b7d47e59b01407e6f672f0d00a08856e94858"
    "172417be3118d8314633e817009391b9ef111ed4d4603925ff8da09e28b52ffd200e7100005465787420c3a90a6261640a0a"
    "74"
)
BATCH_5_OF_A_STREAM = bytes.fromhex(
    "050000000001000000000000006f09000000000000004f1d2fb024a5d810737373737373737373737373737373730000004e"
    "000000000000000128b52ffd206f2d020052440e1490b9c512560dcf80179fedbb8b8dff8698b1db4b4b75e943d9f484c02e"
    "ed80c48d929c94caca2e133707daedf1354442d06eba39f12dce2a030039a1813323002828b52ffd200109000074"
)
BATCH_5_WITH_A_PART_OF_A_FILE = bytes.fromhex(
    "05000000000100000000000001301e00000000000000a2eb0ecffd671e8270707070707070707070707070707070000000c6"
    "000000000000000028b52ffd603000e50500f20d2a21406b9c3182d52e74314a0f22a1461a69a9066344eef98b756c180dbf"
    "9955517437536b537b57e17c1b07261cc7b312c2d98ebb07e7f181bb30cba1aec1a9905432c97f9f6de3425f3ebd304850e2"
    "e5c8035b331c5528e374e1d97e4fa9f3b7ae49a852802048060490833a95520ac1d612d4887910b30be79d4fc87a89abd0e8"
    "a5f15a25752aed73231563eb7da078fe5c04f00218ceebb80d6c80e2d96eca4ad89bada3736e04050005f3c3c1321660b8b0"
    "63b61e649e0128b52ffd2000010000"
)
BATCH_5_OF_A_REFUSED_ANSWER = bytes.fromhex(
    "05000000000100000000000000b10900000000000000db8e39b68f0c962e7272727272727272727272727272727200000098"
    "000000000000000128b52ffd20b17d040012cb22229027cd01fffbdd9d6e9dcb76af3dd96c9131b99ba093b83b1a7bf49b97"
    "1ba798797a8beaa20557820fdcc81b5775c022244000c2ed91444634463ce59b0938f3eac54761c1c7f8301fc5dfe8e09dd0"
    "e19b3505d16aea6080923d409eef8528a9850ece344efba2619daf6b45f6e2461abb55cba1b5f222d37893f67cdbf82de262"
    "7bbedae0347e4959090028b52ffd200109000074"
)
INLINE = Document("a", "Text é", ("data:image/png;base64,AA==",), {"n": 0.1}, "in/a.jsonl")
FAILED = Document("b", "bad", failure=Failure("read", "not_utf8", "at byte 0", raw="/w=="))
ELSEWHERE = Document("in/c.png", "", source="in/c.png")
AGAIN = Document("d", "t", earlier=Earlier(2, 3, OpenRequest("r-2", "0f" * 16, "fedcba9876543210", 4, 1, 2)))
ARRIVED = Document("e", "t", arrival=Arrival(1_000_000, (0, 3_600_000_000), "ab" * 16))
REFUSED_ANSWER = RefusedAnswer(
    Failure("validate", "schema_violation", "bad", retryable=True, raw='{"n":"é"}'),
    (("/n", "is no number (type)"),),
    *(1, Usage(1, 2, 3), 4),
)
REFUSED = Document("f", "t", earlier=Earlier(1, 0, refused=REFUSED_ANSWER))
FILE = FileContent(70_000, "0123456789abcdef" * 2, "00ff" * 8)
TERMS = Part("f", "0123456789abcdef", 5, 9, 20, "Dear", ("Terms", "Fees"), "Item  Price", "See")
FILE_OF_PART = FileContent(70_000, FILE.checksum, FILE.key, 1, '{"pages": "both"}')
PART = Document("f[5:9]", "", metadata={"pages": 2}, source="in/f.pdf", part=TERMS)
ITEMS = [
    Item(INLINE, 120, b"k" * 16),
    Item(FAILED, 0),
    Item(ELSEWHERE.with_file(FILE), 95_000, bytes.fromhex(FILE.key)),
    Item(AGAIN, 7, bytes(range(16))),
]
SPENT = [Spent(Usage(1, 2, 3), attempts) for attempts in range(4)]

SHARD = Shard(
    (
        Job(
            *("0123456789abcdef", 2, 10.0, 9.5, "r-1", 3),
            unknown=1,
            attempts=2,
            trouble="é",
            submitted_as=("fedcba9876543210", 4, [1, 3]),
            reservation="b-7",
        ),
        Job("0000000000000000", 1, 1.0, 1.0),
    ),
    *(5.0, 6.0, 7.0, 8),
)
SHARD_3 = (
    '[3,{"submits_from":5.0,"polls_from":6.0,"parked_until":7.0,"vain_refusals":8},["batch_id","count","due","since",'
    '"request_id","polls","delays","refusals","unknown","attempts","gone","resubmitted","account_trouble","trouble",'
    '"submitted_as","event_seen","replaces","rereads","empty","empty_since","grace_until",'
    '"reservation"],'
    '[["0123456789abcdef",2,10.0,9.5,"r-1",3,0,0,1,2,0,false,0,"é",["fedcba9876543210",4,[1,3]],false,null,0,0,0.0,0.0,"b-7"],'
    '["0000000000000000",1,1.0,1.0,null,0,0,0,0,0,0,false,0,"",null,false,null,0,0,0.0,0.0,""]]]'
).encode()
LAYOUT_1 = b'[1,[[3,16],[0,2]],{"0123456789abcdef":[0,"0123456789abcdef"],"00ff":[5,"7"]},[[5,2]],7]'


def test_a_batch_of_version_5_is_read() -> None:
    assert repr(batches.decode(BATCH_5)) == repr([INLINE, FAILED, ELSEWHERE, AGAIN])
    assert batches.decode(BATCH_5)[2].file == FILE
    assert batches.spent(BATCH_5) == SPENT
    head = batches.head(BATCH_5)
    assert (list(head.sizes), head.form, head.has_open) == ([120, 0, 95_000, 7], 1, True)
    assert list(head.digests) == [batches.digest(document.id) for document in (INLINE, FAILED, ELSEWHERE, AGAIN)]
    assert head.keys == [b"k" * 16, NO_KEY, bytes.fromhex(FILE.key), bytes(range(16))]
    assert batches.decode(BATCH_5_OF_A_STREAM) == [ARRIVED]
    assert batches.decode(BATCH_5_OF_A_REFUSED_ANSWER) == [REFUSED]
    assert batches.decode(BATCH_5_WITH_A_PART_OF_A_FILE) == [PART]
    assert batches.decode(BATCH_5_WITH_A_PART_OF_A_FILE)[0].file == FILE_OF_PART
    assert not batches.head(BATCH_5_OF_A_STREAM).has_open


def test_a_batch_is_written_as_version_5_has_it() -> None:
    def plain(blob: bytes) -> tuple[bytes, bytes, bytes]:
        # Version, form, count and length; sizes, digests and keys; two lengths. The rest is compressed.
        at = 14 + 32 * blob[5] + 12
        packed, lines = (int.from_bytes(blob[begin:end], "big") for begin, end in ((at - 12, at - 8), (at - 8, at)))
        columns = blob[at : at + packed], int.from_bytes(blob[6:14], "big")
        parts = (columns, (blob[at + packed :], lines))
        return blob[: at - 12], *(pa.Codec("zstd").decompress(part, size, asbytes=True) for part, size in parts)  # type: ignore[return-value]

    assert plain(batches.encode([Item(ARRIVED, 9, b"s" * 16)])) == plain(BATCH_5_OF_A_STREAM)
    assert plain(batches.encode([Item(REFUSED, 9, b"r" * 16)])) == plain(BATCH_5_OF_A_REFUSED_ANSWER)
    of_a_part = batches.encode([Item(PART.with_file(FILE_OF_PART), 30, b"p" * 16)])
    assert plain(of_a_part) == plain(BATCH_5_WITH_A_PART_OF_A_FILE)
    assert b'"file_of_part":' in plain(of_a_part)[1], "a name that earlier ones refuse: they would send the whole file"
    assert plain(batches.encode(ITEMS, form=1, spent=SPENT)) == plain(BATCH_5), "another format: another version"
    assert plain(BATCH_5)[2] == b"Text \xc3\xa9\nbad\n\nt"


@pytest.mark.parametrize("read", [batches.head, batches.decode, batches.spent])
def test_a_batch_of_another_version_is_refused_and_not_misread(read: Any) -> None:
    for version in (1, 4, 6, 99):
        with pytest.raises(StateError, match=f"a batch of version {version}, .* reads 5: .*drain the job"):
            read(bytes((version,)) + BATCH_5[1:])


def test_jobs_of_version_3_are_read_and_written() -> None:
    read = jobs.decode(SHARD_3)
    assert (read.jobs[1], read.submits_from) == (SHARD.jobs[1], SHARD.submits_from)
    assert jobs.encode(read) == jobs.encode(SHARD) == SHARD_3, "a field is new: pin what is written now"


def test_a_field_that_was_added_later_has_its_default_where_it_is_missing() -> None:
    assert jobs.decode(b'[3,{"polls_from":6.0},["batch_id","count","due","since"],[["a",1,2.0,3.0]]]') == Shard(
        (Job("a", 1, 2.0, 3.0),), polls_from=6.0
    )


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (b"[99,0,0,0,0,[]]", "jobs of version 99, .* reads 3: .*drain the job"),
        (b"[2,5.0,6.0,7.0,8,[]]", "jobs of version 2,"),
        (b'[3,{"later":1},[],[]]', "jobs of version 3 with another's fields .*later"),
        (b'[3,{},["batch_id","count","due","since","later"],[["a",1,2.0,3.0,4]]]', "fields .*later"),
    ],
)
def test_jobs_of_another_version_are_refused_and_not_misread(state: bytes, told: str) -> None:
    with pytest.raises(StateError, match=told):
        jobs.decode(state)


def test_a_layout_of_version_1_is_read_and_written() -> None:
    layout = Layout.decode(LAYOUT_1)
    assert layout.queue == [[3, 16], [0, 2]]
    assert layout.held == {"0123456789abcdef": (0, "0123456789abcdef"), "00ff": (5, "7")}
    assert (layout.ended, layout.serial) == ({5: 2}, 7)
    assert layout.encode() == LAYOUT_1


def test_a_layout_of_another_version_is_refused() -> None:
    with pytest.raises(StateError, match=r"a layout of version 2, .* reads 1: "):
        Layout.decode(b"[2]")


def test_a_reference_keeps_how_its_file_was_read() -> None:
    for file in (FILE, FileContent(9, "c", "00", 3, '{"pages":"image"}'), FileContent(9, "c", "00", 1)):
        document = Document("a", "", source="in/a.pdf", layout=None).with_file(file)
        (decoded,) = batches.decode(batches.encode([Item(document, 1)]))
        assert (decoded.file, decoded.is_reference, decoded.picture_count) == (file, True, file.pictures)


def test_a_documents_extras_of_another_version_are_refused() -> None:
    codec = pa.Codec("zstd", 1)
    columns = orjson.dumps({"ids": ["a"], "sources": "", "some": [(0, {"later": 1})]})
    packed, text = codec.compress(columns, asbytes=True), codec.compress(b"t", asbytes=True)
    prefix = bytes((5, 0)) + (1).to_bytes(4, "big") + len(columns).to_bytes(8, "big") + bytes(32)
    blob = prefix + len(packed).to_bytes(4, "big") + (1).to_bytes(8, "big") + packed + text
    with pytest.raises(StateError, match="a batch of version 5 with another's later"):
        batches.decode(blob)


# ------------------------------------------------------------------------------------------------ what Beam knows of it

QUEUE = {f"queue_{number}" for number in range(16)}
HELD = {"held", *(f"held_{number}" for number in range(1, 16))}
BAGS = {"waiting", *QUEUE, *HELD}


def _pipeline(tmp_path: Path, **extract: Any) -> proto.Pipeline:
    (tmp_path / "a.txt").write_text("a")
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    documents = pipeline | "Read" >> kb.ReadDocuments(str(tmp_path / "*.txt"))
    results = documents | "Extract" >> kb.Extract(RECEIPT, service=service("http://127.0.0.1:1"), **extract)
    results.extractions | "Write" >> kb.WriteParquet(str(tmp_path / "rows"), RECEIPT)
    built: proto.Pipeline = pipeline.to_runner_api()
    return built


def _urns(coder: str, of: proto.Pipeline) -> Any:
    known = of.components.coders[coder]
    inner = [_urns(part, of) for part in known.component_coder_ids]
    return (known.spec.urn, *inner) if inner else known.spec.urn


def test_an_update_finds_names_and_coders_as_they_were(tmp_path: Path) -> None:
    """Dataflow and Flink match the state of a job that is updated by them."""
    built = _pipeline(tmp_path)
    steps = {step.unique_name: step for step in built.components.transforms.values()}
    assert {"Read/ReadPart", "Extract/MakeBatches", "Extract/Dispatch", "Extract/Settle"} <= steps.keys()
    payload = proto.ParDoPayload.FromString(steps["Extract/Dispatch"].spec.payload)
    assert set(payload.state_specs) == {"checked", "jobs", "layout", *BAGS}
    assert set(payload.timer_family_specs) == {"ts-drain-260e156c"}
    coders = {
        name: _urns(spec.bag_spec.element_coder_id or spec.read_modify_write_spec.coder_id, built)
        for name, spec in payload.state_specs.items()
    }
    pair = ("beam:coder:kv:v1", "beam:coder:string_utf8:v1", "beam:coder:bytes:v1")
    assert {coders[name] for name in HELD} == {pair}
    assert {coders[name] for name in ("jobs", "layout", "waiting", *QUEUE)} == {"beam:coder:bytes:v1"}
    assert coders["checked"] == "beam:coder:bool:v1"
    (came_in,) = steps["Extract/Dispatch"].inputs.values()
    assert _urns(built.components.pcollections[came_in].coder_id, built) == pair


WRITTEN = {"waiting", "size"}


def _own(label: str, *timers: str) -> set[str]:
    """Timers as they are called that carry a hash of the label of their step, or of the one before."""
    return {f"ts-{timer}-{hashlib.blake2b(label.encode(), digest_size=4).hexdigest()}" for timer in timers}


STREAM = {
    "Read-New_5": ("Read/Look", {"seen"}, set()),
    "Extract-Dispatch_18": (
        "Extract/MakeBatches",
        {"lingering", "jobs", "layout", *BAGS},
        _own("Extract", "linger", "tick", "drain"),
    ),
    "WriteStream-Extractions-Parts-Collect_27": (
        "WriteStream/Extractions/Encode",
        WRITTEN,
        _own("WriteStream/Extractions/Encode", "roll", "drain"),
    ),
    "WriteStream-DeadLetters-Parts-Collect_33": (
        "WriteStream/DeadLetters/Encode",
        WRITTEN,
        _own("WriteStream/DeadLetters/Encode", "roll", "drain"),
    ),
    "WriteStream-Documents-Parts-Collect_41": (
        "WriteStream/Documents/Encode",
        WRITTEN,
        _own("WriteStream/Documents/Encode", "roll", "drain"),
    ),
    "WriteStream-Summarise_44": ("WriteStream/ByPartition", {"turn"}, set()),
}
"""The steps with state of `pipelines/stream.py`: the step before each, its state and its timers.

Dataflow finds state by the name of its step. Flink's runner does by that of the step before, and timers by the step's
name and number, which Beam's Python gives out in order: a step that is added before one with timers makes a savepoint
useless ("No receiver found for timer", measured), one after all of them does not.
"""


def test_a_stream_that_is_updated_finds_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[proto.Pipeline] = []

    class Ended:
        def wait_until_finish(self) -> None:
            pass

    def run(pipeline: beam.Pipeline) -> Ended:
        built.append(pipeline.to_runner_api())
        return Ended()

    monkeypatch.setattr(beam.Pipeline, "run", run)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    schema = ("--schema", str(ROOT / "schemas" / "receipt.json"))
    stream.main(["--input", "in/*", *schema, "--output", str(tmp_path / "out"), "--runner=PortableRunner"])
    (known,) = (pipeline.components for pipeline in built)
    found = {}
    for name, step in known.transforms.items():
        if step.spec.urn == "beam:transform:pardo:v1":
            payload = proto.ParDoPayload.FromString(step.spec.payload)
            if payload.state_specs:
                (before,) = (known.pcollections[given].unique_name for given in step.inputs.values())
                cells = set(payload.state_specs), set(payload.timer_family_specs)
                which = name.removeprefix("ref_AppliedPTransform_")
                found[which] = before.lstrip("0123456789").removesuffix(".None"), *cells
    assert found == STREAM, "a running job that is updated would not find its state: say so in CHANGELOG.md"
