"""The preparation jobs on small trees of real files, laid out as the real corpora are."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lighthubert.data import Manifest, load_audio
from lighthubert.prepare.__main__ import main
from lighthubert.prepare.text import normalise, split_of


def tone(frames: int, pitch: float = 0.1) -> np.ndarray:
    return (0.4 * np.sin(np.arange(frames) * pitch)).astype(np.float32)


def write(path: Path, frames: int = 8000, rate: int = 16000, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(frames), rate, **options)
    return path


def test_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "audio"
    write(audio / "b" / "long.WAV", 44100, 44100)
    write(audio / "a.mp3", 22050, 22050)
    write(audio / "c.opus", 24000, 48000, format="OGG", subtype="OPUS")
    (audio / "broken.flac").write_text("no")
    (audio / "notes.txt").write_text("no audio")
    assert main(["folder", str(audio), "--out", str(tmp_path / "m.tsv"), "--jobs", "2"]) == 0
    assert (tmp_path / "m.tsv").read_text() == (
        "path\tsamples\naudio/a.mp3\t16000\naudio/b/long.WAV\t16000\naudio/c.opus\t8000\n"
    )
    said = capsys.readouterr()
    assert f"skipped {audio}/broken.flac: cannot be decoded: Format not recognised." in said.err
    assert said.out == f"{tmp_path}/m.tsv: 3 clips, 0.00 h, 1 left out\n"
    assert main(["folder", str(audio), "--out", str(tmp_path / "elsewhere" / "m.tsv")]) == 0
    manifest = Manifest.read(tmp_path / "elsewhere" / "m.tsv")
    assert manifest.files[0] == str(audio / "a.mp3")
    assert len(load_audio(manifest.file_path(2))) == manifest.samples[2]


def test_folder_of_links_formats_and_odd_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "audio"
    formats = {"caf": "CAF", "sph": "NIST", "w64": "W64", "aifc": "AIFF", "wav": "WAV"}
    for suffix, form in formats.items():
        write(audio / f"a.{suffix}", format=form)
    write(tmp_path / "elsewhere" / "b.wav")
    (audio / "link").symlink_to(tmp_path / "elsewhere")
    (audio / "circle").symlink_to(audio)
    clip = (audio / "a.wav").read_bytes()
    for name in (b"tab\there.wav", b"latin-\xe9.wav", b"line\nbreak.wav"):
        Path(os.fsdecode(bytes(audio) + b"/" + name)).write_bytes(clip)
    assert main(["folder", str(audio), "--out", str(tmp_path / "m.tsv")]) == 0
    files = Manifest.read(tmp_path / "m.tsv").files
    assert sorted(files) == sorted([*(f"audio/a.{suffix}" for suffix in formats), "audio/link/b.wav"])
    said = capsys.readouterr()
    skipped = [line for line in said.err.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == 3
    assert all(line.endswith("a manifest cannot hold this name: not UTF-8, a tab or a line break") for line in skipped)
    assert "tab\\there.wav" in said.err
    assert said.out.endswith("6 clips, 0.00 h, 3 left out\n")


def test_librispeech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for subset, speaker, chapter in (("dev-clean", 84, 121), ("dev-clean", 174, 50), ("test-other", 367, 1)):
        folder = tmp_path / "LibriSpeech" / subset / str(speaker) / str(chapter)
        for i in range(2):
            write(folder / f"{speaker}-{chapter}-000{i}.flac", 16000 + i)
        lines = [f"{speaker}-{chapter}-000{i} IT'S LINE {speaker} {i}\n" for i in range(2)]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    broken = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121"
    write(broken / "84-121-0009.flac")
    (broken / "84-121-0001.flac").unlink()
    assert main(["librispeech", str(tmp_path), "--out", str(tmp_path / "LibriSpeech")]) == 0
    manifest = Manifest.read(tmp_path / "LibriSpeech" / "dev-clean.tsv")
    assert manifest.files == [
        "dev-clean/174/50/174-50-0000.flac", "dev-clean/174/50/174-50-0001.flac", "dev-clean/84/121/84-121-0000.flac",
    ]  # fmt: skip
    assert manifest.samples.tolist() == [16000, 16001, 16000]
    assert manifest.columns == {
        "transcript": ["it's line 174 0", "it's line 174 1", "it's line 84 0"],
        "speaker": ["174", "174", "84"],
        "language": ["en"] * 3,
    }
    assert len(Manifest.read(tmp_path / "LibriSpeech" / "test-other.tsv")) == 2
    said = capsys.readouterr().err
    assert f"skipped {broken}/84-121-0001.flac: No such file or directory" in said
    assert f"skipped {broken}/84-121-0009.flac: no transcript in the chapter's .trans.txt" in said

    assert not (tmp_path / "LibriSpeech" / "train-960.tsv").exists()


def test_librispeech_as_wav_with_blank_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "dev-clean" / "84" / "121"
    for i in range(2):
        write(folder / f"84-121-000{i}.wav", 16000 + i)
    lines = ["84-121-0000 A LINE", "", "  ", "84-121-0001 ANOTHER", "84-121-0002 NO FILE", ""]
    os.mkfifo(folder / "84-121-0003.wav")
    lines.append("84-121-0003 A PIPE")
    (folder / "84-121.trans.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    assert main(["librispeech", str(tmp_path), "--out", str(tmp_path)]) == 0
    manifest = Manifest.read(tmp_path / "dev-clean.tsv")
    assert [Path(file).name for file in manifest.files] == ["84-121-0000.wav", "84-121-0001.wav"]
    assert manifest.columns["transcript"] == ["a line", "another"]
    said = capsys.readouterr()
    assert f"skipped {folder}/84-121-0002.flac: No such file or directory" in said.err
    assert f"skipped {folder}/84-121-0003.wav: not a file" in said.err
    assert said.out.endswith("2 clips, 0.00 h, 2 left out\n")
    (folder / "84-121.trans.txt").write_bytes(b"84-121-0000 \xe9\n")
    assert main(["librispeech", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {folder}/84-121.trans.txt: not UTF-8 text (")


def write_slurp(root: Path) -> None:
    """Two sentences in train with three recordings, one of them gone, and one in test; as in the real repository."""
    write(root / "audio" / "slurp_real" / "audio-1-headset.flac", 16000)
    write(root / "audio" / "slurp_real" / "audio-2.flac", 8000)
    write(root / "audio" / "slurp_real" / "audio-4.flac", 4000)
    texts = root / "dataset" / "slurp"
    texts.mkdir(parents=True)
    entries = [
        {"slurp_id": 1, "sentence": "wake me up at eight o'clock", "scenario": "alarm", "action": "set",
         "recordings": [{"file": "audio-1-headset.flac", "wer": 0}, {"file": "audio-3.flac", "wer": 0}]},
        {"slurp_id": 2, "sentence": "Olly, quiet!", "scenario": "audio", "action": "volume_mute",
         "recordings": [{"file": "audio-2.flac"}]},
    ]  # fmt: skip
    (texts / "train.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (texts / "test.jsonl").write_text(json.dumps({**entries[1], "recordings": [{"file": "audio-4.flac"}]}) + "\n")


def test_slurp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_slurp(tmp_path / "slurp")
    assert main(["slurp", str(tmp_path / "slurp"), "--out", str(tmp_path)]) == 0
    manifest = Manifest.read(tmp_path / "train.tsv")
    assert manifest.files == ["slurp/audio/slurp_real/audio-1-headset.flac", "slurp/audio/slurp_real/audio-2.flac"]
    assert manifest.samples.tolist() == [16000, 8000]
    assert manifest.columns["intent"] == ["alarm_set", "audio_volume_mute"]
    assert manifest.columns["transcript"] == ["wake me up at eight o'clock", "olly quiet"]
    assert Manifest.read(tmp_path / "test.tsv").columns["scenario"] == ["audio"]
    said = capsys.readouterr()
    assert "audio-3.flac" in said.err
    assert f"{tmp_path}/train.tsv: 2 clips, 0.00 h, 1 left out\n" in said.out


def test_a_wrong_line_of_slurp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_slurp(tmp_path)
    with (tmp_path / "dataset" / "slurp" / "test.jsonl").open("a") as file:
        file.write('{"sentence": "x"}\n')
    assert main(["slurp", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "test.jsonl, line 2: not an entry of SLURP: KeyError('scenario')" in capsys.readouterr().err


def test_librispeech_960_is_all_of_training(tmp_path: Path) -> None:
    for number, subset in enumerate(("train-other-500", "train-clean-100", "train-clean-360", "dev-clean")):
        folder = tmp_path / subset / "7" / "1"
        write(folder / f"7-1-000{number}.flac", 16000 + number)
        (folder / "7-1.trans.txt").write_text(f"7-1-000{number} A LINE\n")
    assert main(["librispeech", str(tmp_path), "--out", str(tmp_path / "manifests")]) == 0
    manifest = Manifest.read(tmp_path / "manifests" / "train-960.tsv")
    assert manifest.samples.tolist() == [16001, 16002, 16000]
    assert [len(load_audio(manifest.file_path(row))) for row in range(3)] == [16001, 16002, 16000]


def fish_tree(root: Path) -> None:
    game = root / "usr/share/games/fillets-ng"
    script = game / "script/cave/dialogs_cs.lua"
    script.parent.mkdir(parents=True)
    script.write_text(
        'dialogId("c-m-ano", "font_small", "Yes.")\ndialogStr("Ano, \\"mami\\"!")\n'
        'dialogId("c-x-ne", "font_big", "No.")\n    dialogStr("Ne.")\n',
        encoding="utf-8",
    )
    for name in ("c-m-ano", "c-x-ne", "c-v-bez", "c-q-kdo"):
        write(game / f"sound/cave/cs/{name}.ogg", 22050, 22050)
    write(game / "sound/cave/en/plop.ogg", 22050, 22050)
    write(game / "music/menu.ogg", 44100, 44100)


def test_fish_game(tmp_path: Path) -> None:
    fish_tree(tmp_path / "debs")
    assert (
        main(["debian", "--root", str(tmp_path / "debs"), "--out", str(tmp_path / "c"), "--only", "fillets,noise"]) == 0
    )
    found = {}
    for name in ("train", "dev", "test", "other"):
        path = tmp_path / "c" / f"{name}.tsv"
        manifest = Manifest.read(path) if path.exists() else None
        for row, file in enumerate(manifest.files if manifest else []):
            assert len(load_audio(manifest.file_path(row))) == manifest.samples[row]
            found[file] = (name, *(manifest.columns[c][row] for c in ("transcript", "speaker", "language", "kind")))
    assert found == {
        "fillets_cs/cave__c-m-ano.flac": (split("ano mami"), "ano mami", "fillets-cs-small", "cs", "speech"),
        "fillets_cs/cave__c-x-ne.flac": (split("ne"), "ne", "fillets-cs-big", "cs", "speech"),
        "fillets_cs/cave__c-v-bez.flac": (split("fillets_cs/cave__c-v-bez"), "", "fillets-cs-big", "cs", "speech"),
        "fillets_cs/cave__c-q-kdo.flac": (split("fillets_cs/cave__c-q-kdo"), "", "fillets-cs-other", "cs", "speech"),
        "noise/sound__cave__en__plop.flac": ("other", "", "", "", "sfx"),
        "noise/music__menu.flac": ("other", "", "", "", "music"),
    }


def split(key: str) -> str:
    """80 % train, 10 % dev, 10 % test by the remainder of the md5."""
    rest = int.from_bytes(hashlib.md5(key.encode()).digest(), "big") % 100
    return "train" if rest < 80 else "dev" if rest < 90 else "test"


def queen_file(members: dict[str, bytes]) -> bytes:
    """The game's container: a count at byte 13, 21-byte entries, then the members."""
    table, body = b"", b""
    start = 15 + 21 * len(members)
    for name, content in members.items():
        table += struct.pack(">12sBII", name.encode(), 0, start + len(body), len(content))
        body += content
    return b"QTBL" + bytes(9) + struct.pack(">H", len(members)) + table + body


def dialogue_member(room: int, hero: dict[int, str], other: dict[int, str]) -> bytes:
    """Header of 14 numbers, the hero's lines from byte 32, the other's where number 11 says."""

    def lines(texts: dict[int, str], block: bytes) -> bytes:
        for number, text in texts.items():
            block += struct.pack(">HHB", 0, number, len(text)) + text.encode("cp437")
            block += bytes(-len(block) % 4)
        return block

    first = lines(hero, bytes(32))
    numbers = [0] * 14
    numbers[2], numbers[3], numbers[4], numbers[11] = room, len(hero), len(other), len(first)
    return bytes(20) + struct.pack(">14h", *numbers) + lines(other, first)[28:]


def test_queen_game(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.mp3", 11025, 11025).read_bytes()
    names = ["0700A1J1.SB", "0700A1J2.SB", "0700A2J1.SB", "0700B2P1.SB", "JOE00421.SB", "C12.SB", "07XXXXP3.SB"]
    path = tmp_path / "debs/usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
    path.parent.mkdir(parents=True)
    members = dict.fromkeys(names, clip) | {
        "BOB7.DOG": dialogue_member(7, {0xA1: "Hi, Bob.*01Who's there?", 0xA2: "Yes."}, {0xB2: "(laughs) Me."}),
        "QUEEN2.JAS": b"first.cut\r\nA rusty key!\r\n",
    }
    path.write_bytes(queen_file(members))
    assert main(["debian", "--root", str(tmp_path / "debs"), "--out", str(tmp_path / "c"), "--only", "queen"]) == 0
    found = {}
    for path in (tmp_path / "c").glob("*.tsv"):
        manifest = Manifest.read(path)
        assert set(manifest.samples.tolist()) == {16000}
        for row, file in enumerate(manifest.files):
            found[file[6:-5]] = (manifest.columns["speaker"][row], manifest.columns["transcript"][row])
    assert found == {
        "0700A1J1": ("queen-joe", "hi bob"),
        "0700A1J2": ("queen-joe", "who's there"),
        "0700A2J1": ("queen-joe", "yes"),
        "0700B2P1": ("queen-bob", "me"),
        "JOE00421": ("queen-joe", "a rusty key"),
        "C12": ("queen-cutscene", ""),
        "07XXXXP3": ("queen-bob", ""),
    }


def test_letters_and_recogniser_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "debs"
    letters = root / "usr/share/klettres"
    write(letters / "de_x/alpha/a-0.ogg", 44100, 44100)
    write(letters / "de_x/syllab/ba.ogg", 44100, 44100)
    write(letters / "de_x/alpha/bad.ogg", 128000, 128000)
    write(letters / "de_x/alpha/quiet.ogg")
    soundfile.write(letters / "de_x/alpha/quiet.ogg", np.zeros(8000), 16000)
    write(letters / "de_x/alpha/tiny.ogg", 700)
    (letters / "de_x/sounds.xml").write_text(
        '<l name="Ä" file="de_x/alpha/a-0.ogg"/><s name="BA" file="de_x/syllab/ba.ogg"/>'
    )
    cards = root / "usr/share/pocketsphinx/test/data/cards"
    write(cards / "001.wav")
    (cards / "cards.transcription").write_text("<s> ace of clubs </s> (001)\n")
    (root / "usr/share/doc/klettres-data").mkdir(parents=True)
    (root / "usr/share/doc/klettres-data/copyright").write_text("GPL-2+")
    assert main(["debian", "--root", str(root), "--out", str(tmp_path / "c"), "--only", "klettres,sphinx"]) == 0
    rows = "".join(
        (tmp_path / "c" / f"{name}.tsv").read_text() for name in {split("ä"), split("ba"), split("ace of clubs")}
    )
    assert (
        "klettres/de_x/alpha/a-0.flac\t16000\tä\tklettres-de_x\tde\tklettres\tspeech\tletters\tde_x/alpha/a-0" in rows
    )
    assert (
        "klettres/de_x/syllab/ba.flac\t16000\tba\tklettres-de_x\tde\tklettres\tspeech\tsyllable\tde_x/syllab/ba" in rows
    )
    assert "sphinx/cards-001.flac\t8000\tace of clubs\tsphinx-cards\ten\tsphinx\tspeech\tcards\t001" in rows
    assert (tmp_path / "c/licences/klettres-data.txt").read_text() == "GPL-2+"
    said = capsys.readouterr()
    assert "skipped klettres/de_x/alpha/bad: its header claims 128000 Hz" in said.err
    assert "skipped klettres/de_x/alpha/quiet: silent" in said.err
    assert "skipped klettres/de_x/alpha/tiny: too short: 700 samples at 16 kHz" in said.err
    assert "3 of 6 clips left out" in said.out


def write_g722(path: Path, seconds: float) -> None:
    av = pytest.importorskip("av", reason="PyAV encodes and decodes G.722")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="g722") as file:
        stream = file.add_stream("g722", rate=16000, layout="mono")
        pcm = (tone(round(seconds * 16000), 0.2) * 20000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)


def first(texts: dict[int, str], name: str, count: int) -> list[int]:
    """The first keys whose texts are in a split."""
    return [key for key, text in texts.items() if split(text) == name][:count]


def prompts_tree(root: Path) -> None:
    """Prompts in the five languages, in the layout of Debian's packages; every prompt is two seconds long."""
    voices = {"en_US_f_Allison", "es_MX_f_Allison", "fr_CA_f_June", "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU"}
    for voice in sorted(voices):
        language, lines = voice[:2], ["; comment: none", "beep: a beep"]
        texts = {i: f"prompt {language} {i}" for i in range(1000)}
        wanted = [i for name, count in (("train", 5), ("dev", 1), ("test", 3)) for i in first(texts, name, count)]
        for i in wanted:
            write_g722(root / f"usr/share/asterisk/sounds/{voice}/vm-{i}.g722", 2)
            lines.append(f"vm-{i}: Prompt {language} [pause] {i}.")
        write_g722(root / f"usr/share/asterisk/sounds/{voice}/beep.g722", 1)
        write_g722(root / f"usr/share/asterisk/sounds/{voice}/silence/1.g722", 1)
        for suffix in ("", "-g722"):
            doc = root / f"usr/share/doc/asterisk-core-sounds-{language}{suffix}"
            doc.mkdir(parents=True)
            (doc / "copyright").write_text("the licence")
        text = root / f"usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
        text.write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))


def test_prompts_and_the_mini_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts_tree(tmp_path / "debs")
    corpus, mini = tmp_path / "corpus", tmp_path / "mini"
    assert main(["debian", "--root", str(tmp_path / "debs"), "--out", str(corpus), "--only", "asterisk"]) == 0
    manifests = {name: Manifest.read(corpus / f"{name}.tsv") for name in ("train", "dev", "test", "other")}
    assert [len(manifest) for manifest in manifests.values()] == [25, 5, 15, 5]  # nothing of silence/
    assert {Path(file).stem for file in manifests["other"].files} == {"beep"}
    assert manifests["other"].columns["transcript"] == [""] * 5
    for name in ("train", "dev", "test"):
        texts = manifests[name].columns["transcript"]
        assert {split(text) for text in texts} == {name}
        assert all(text.startswith("prompt ") and "pause" not in text for text in texts)
    samples, _ = soundfile.read(manifests["train"].file_path(0))
    expected = tone(len(samples), 0.2) * 20000 / 32768
    delay = int(np.argmax(np.correlate(samples, expected[:400], "valid")[:100]))
    assert np.abs(samples[delay + 400 : 30000] - expected[400 : 30000 - delay]).mean() < 0.02  # the tone it was

    arguments = ["mini", "--corpus", str(corpus), "--out", str(mini)]
    assert main(arguments) == 2  # not enough for two minutes of each language
    monkeypatch.setattr("lighthubert.prepare.mini.SECONDS", {"train": ("train", 8.1), "valid": ("test", 4.1)})
    assert main(arguments) == 0
    train, valid = Manifest.read(mini / "train.tsv"), Manifest.read(mini / "valid.tsv")
    assert (train.seconds, valid.seconds) == pytest.approx((5 * 8, 5 * 4), abs=0.1)
    assert set(train.columns["speaker"]) == {"allison", "june", "carlo", "ivrvoiceru"}
    assert set(train.columns["transcript"]) <= set(manifests["train"].columns["transcript"])
    assert set(valid.columns["transcript"]) <= set(manifests["test"].columns["transcript"])
    for manifest in (train, valid):
        assert all(len(load_audio(manifest.file_path(row))) == n for row, n in enumerate(manifest.samples))
    assert (mini / "LICENSE.txt").read_text() == "the licence"
    assert f"{len(train) + len(valid)} prompts" in (mini / "ATTRIBUTION.md").read_text()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  Hello,\tWORLD!  ", "hello world"),
        ("'Tis the dogs' day, isn’t it?", "tis the dogs day isn't it"),
        ("[tone] press 1 (one) <s>now</s>", "press 1 now"),
        ("E\u0301tat d'e\u0301te\u0301 — A\u0300", "état d'été à"),
        ("Příliš žluťoučký; В момент?", "příliš žluťoučký в момент"),
        ("हिन्दी", "हिन्दी"),  # vowel signs are part of the letters
        ("''", ""),
    ],
)
def test_normalise(raw: str, text: str) -> None:
    assert normalise(raw) == text
    assert normalise(text) == text


def test_split_shares() -> None:
    names = [split_of(f"text {i}") for i in range(5000)]
    assert [names.count(name) / 5000 for name in ("train", "dev", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.015)
    assert all(split_of(f"text {i}") == split(f"text {i}") for i in range(200))


def test_nothing_to_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.wav").write_bytes(b"")
    out = ["--out", str(tmp_path / "m")]
    empty = str(tmp_path / "empty")
    for arguments, message in [
        (["folder", str(tmp_path / "none"), *out], f"{tmp_path}/none: no such folder"),
        (["folder", empty, *out],
         f"{empty}: no audio file in it (.aif, .aifc, .aiff, .au, .caf, .flac, .mp3, .oga, .ogg, .opus, .sph, .w64, "
         ".wav)"),
        (["folder", str(tmp_path / "bad"), *out], f"{tmp_path}/bad: none of its 1 audio files can be read"),
        (["librispeech", empty, *out],
         f"{empty}: no SUBSET/SPEAKER/CHAPTER/*.trans.txt in it, so this is not LibriSpeech"),
        (["debian", "--root", empty, "--only", "sphinx", *out],
         f"{empty}: none of the packages pocketsphinx-testdata is unpacked there (see --download)"),
        (["mini", "--corpus", empty, *out],
         f"{empty}: no licences/asterisk-core-sounds-en.txt in it; make the corpus with `prepare debian` first"),
    ]:  # fmt: skip
        assert main(arguments) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"
        assert not (tmp_path / "m").exists()


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        (["debian", "--root", "a", "--out", "b", "--only", "klettres,nine"],
         "no source is called nine; there are asterisk, menardi, fillets, klettres, queen, sphinx, noise"),
        (["folder", "a"], "the following arguments are required: --out"),
        (["moon"], "invalid choice: 'moon'"),
        (["folder", "a", "--out", "b", "--jobs", "0"], "argument --jobs: must be 1 or more, not 0"),
    ]:  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["debian", "--help"])
    assert ended.value.code == 0
    assert "apt-get download PACKAGE" in capsys.readouterr().out
