//! Kept results: replays, waits, bounds, and what is left after the process is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use astromesh::proxy::idempotency::{
    Begin, Bounds, Ended, Fingerprint, Fingerprinter, Key, Recorder, Results, Running, Stored,
};

fn key(text: &str) -> Key {
    Key::new("agent", text.as_bytes()).unwrap()
}

fn of(body: &str) -> Fingerprint {
    let mut fingerprinter = Fingerprinter::new();
    fingerprinter.update(body.as_bytes());
    fingerprinter.finish()
}

fn first(results: &Results, name: &str) -> Recorder {
    match results.begin(key(name), of(name)) {
        Begin::First(recorder) => recorder,
        other => panic!("{name} is not the first: {other:?}"),
    }
}

fn replay(results: &Results, name: &str) -> Option<Arc<Stored>> {
    match results.begin(key(name), of(name)) {
        Begin::Replay(stored) => Some(stored),
        Begin::First(_) => None,
        other => panic!("{name} is neither kept nor new: {other:?}"),
    }
}

fn running(results: &Results, name: &str) -> Running {
    match results.begin(key(name), of(name)) {
        Begin::Running(running) => running,
        other => panic!("{name} is not running: {other:?}"),
    }
}

/// Runs a request to its end.
fn run(results: &Results, name: &str, status: u16, body: &[u8]) {
    let mut recorder = first(results, name);
    recorder.head(status, b"content-type: text/plain\r\n");
    for part in body.chunks(1_000) {
        recorder.push(part);
    }
    recorder.finish();
}

fn in_memory() -> Results {
    Results::in_memory(Bounds::default())
}

fn open(directory: &Path) -> Results {
    Results::open(directory, Bounds::default())
}

/// The files of a directory by name.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_repeat_gets_the_answer_byte_for_byte() {
    let results = in_memory();
    let body: Vec<u8> = (0..5_000_u32).map(|index| (index % 251) as u8).collect();
    run(&results, "a", 201, &body);
    let stored = replay(&results, "a").unwrap();
    assert_eq!(stored.status, 201);
    assert_eq!(stored.head, b"content-type: text/plain\r\n");
    assert_eq!(stored.body, body);
    let counts = results.counts();
    assert_eq!((counts.first, counts.replayed, counts.kept), (1, 1, 1));
}

#[test]
fn a_key_of_another_request_is_refused_while_it_runs_and_after() {
    let results = in_memory();
    let mut recorder = first(&results, "a");
    assert!(matches!(results.begin(key("a"), of("other")), Begin::Mismatch));
    recorder.head(200, b"");
    recorder.finish();
    assert!(matches!(results.begin(key("a"), of("other")), Begin::Mismatch));
    assert_eq!(results.counts().mismatched, 2);
    let elsewhere = Key::new("other agent", b"a").unwrap();
    assert!(matches!(results.begin(elsewhere, of("other")), Begin::First(_)));
}

#[test]
fn failures_and_refusals_are_not_kept() {
    let results = in_memory();
    for status in [500, 502, 503, 504, 408, 425, 429] {
        run(&results, "a", status, b"no");
        assert_eq!(replay(&results, "a"), None, "{status}");
    }
    for status in [200, 204, 302, 400, 404, 422] {
        let name = status.to_string();
        run(&results, &name, status, b"yes");
        assert_eq!(replay(&results, &name).unwrap().status, status);
    }
}

#[tokio::test]
async fn repeats_that_wait_get_what_the_first_got_also_when_it_is_not_kept() {
    let results = in_memory();
    for (name, status, is_kept) in [("good", 200, true), ("bad", 502, false)] {
        let mut recorder = first(&results, name);
        let (one, two, three) =
            (running(&results, name), running(&results, name), running(&results, name));
        drop(one.ended());
        let two = tokio::spawn(two.ended());
        recorder.head(status, b"");
        recorder.push(b"body");
        recorder.finish();
        let expected =
            Ended::Answer(Arc::new(Stored { status, head: vec![], body: b"body".to_vec() }));
        assert_eq!(two.await.unwrap(), expected);
        assert_eq!(three.ended().await, expected);
        assert_eq!(replay(&results, name).is_some(), is_kept);
    }
    let counts = results.counts();
    assert_eq!((counts.waited, counts.failed, counts.kept), (6, 1, 1));
}

#[tokio::test]
async fn a_run_that_is_dropped_frees_its_key_and_tells_those_who_wait() {
    let results = in_memory();
    let mut recorder = first(&results, "a");
    let waiting = running(&results, "a");
    recorder.head(200, b"");
    recorder.push(b"half of it");
    drop(recorder);
    assert_eq!(waiting.ended().await, Ended::Abandoned);
    // Finished without an answer is the same.
    first(&results, "a").finish();
    run(&results, "a", 200, b"whole");
    assert_eq!(replay(&results, "a").unwrap().body, b"whole");
    assert_eq!(results.counts().abandoned, 2);
}

#[tokio::test]
async fn an_answer_too_long_to_keep_is_not_given_again_and_not_run_again() {
    let bounds = Bounds { answer_bytes_max: 10, ..Bounds::default() };
    let results = Results::in_memory(bounds);
    let mut recorder = first(&results, "a");
    let waiting = running(&results, "a");
    recorder.head(200, b"x: y\r\n");
    recorder.push(b"12345");
    recorder.push(b"6");
    recorder.finish();
    assert_eq!(waiting.ended().await, Ended::NotKept);
    assert!(matches!(results.begin(key("a"), of("a")), Begin::NotKept));
    assert_eq!(results.counts().too_long, 1);
}

#[test]
fn what_is_recorded_at_once_is_bounded_and_given_back() {
    let bounds = Bounds { bytes_max: 1_000, ..Bounds::default() };
    let results = Results::in_memory(bounds);
    let mut recorders: Vec<_> = ["a", "b", "c"].map(|name| first(&results, name)).into();
    for recorder in &mut recorders {
        recorder.head(200, b"");
        recorder.push(&[0; 400]);
    }
    recorders.remove(2).finish();
    assert!(matches!(results.begin(key("c"), of("c")), Begin::NotKept));
    drop(recorders);
    run(&results, "d", 200, &[0; 700]);
    assert_eq!(replay(&results, "d").unwrap().body.len(), 700);
}

#[test]
fn the_oldest_go_when_there_are_too_many_and_all_when_their_time_is_over() {
    let bounds = Bounds { bytes_max: 10_000, ..Bounds::default() };
    let results = Results::in_memory(bounds);
    for index in 0..100 {
        run(&results, &index.to_string(), 200, &[0; 1_000]);
    }
    let counts = results.counts();
    assert!(counts.kept_bytes <= 10_000, "{counts:?}");
    assert_eq!(counts.evicted + counts.kept as u64, 100);
    assert_eq!(replay(&results, "0"), None);
    assert!(replay(&results, "99").is_some());

    let results = Results::in_memory(Bounds { age_max: Duration::ZERO, ..bounds });
    run(&results, "a", 200, b"");
    assert_eq!(replay(&results, "a"), None);
    assert_eq!(results.counts().evicted, 0);
}

#[test]
fn a_key_is_printable_and_not_too_long() {
    assert!(Key::new("agent", &[b'k'; 255]).is_ok());
    for text in [&b""[..], &[b'k'; 256], b"a\nb", b"a\0b", "ä".as_bytes()] {
        assert!(Key::new("agent", text).is_err(), "{text:?}");
    }
}

#[test]
fn results_outlive_a_process_that_is_killed() {
    let (living, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let results = open(living.path());
    run(&results, "a", 200, b"answer of a");
    run(&results, "failed", 500, b"");
    let mut recorder = first(&results, "endless");
    recorder.head(200, b"");
    recorder.push(&vec![0; 2 << 20]);
    recorder.finish();
    let _under_way = first(&results, "b");
    results.flush();
    // What a killed process leaves behind is what is in the files at that moment.
    for file in files(living.path()) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
        fs::copy(&file, killed.path().join(file.file_name().unwrap())).unwrap();
    }

    let results = open(killed.path());
    assert_eq!(replay(&results, "a").unwrap().body, b"answer of a");
    assert!(matches!(results.begin(key("a"), of("other")), Begin::Mismatch));
    assert!(matches!(results.begin(key("endless"), of("endless")), Begin::NotKept));
    assert_eq!(replay(&results, "b"), None);
    assert_eq!(replay(&results, "failed"), None);
    run(&results, "b", 200, b"answer of b");
    drop(results);

    let results = open(killed.path());
    assert_eq!(replay(&results, "a").unwrap().body, b"answer of a");
    assert_eq!(replay(&results, "b").unwrap().body, b"answer of b");
    assert_eq!(files(killed.path()).len(), 1);
}

#[test]
fn a_damaged_file_loses_what_comes_after_the_damage_and_is_written_on() {
    let directory = tempfile::tempdir().unwrap();
    let results = open(directory.path());
    for name in ["a", "b", "c"] {
        run(&results, name, 200, name.as_bytes());
    }
    drop(results);
    let path = files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let third = (whole.len() - 20) / 3;
    for (name, damage) in [("cut", whole.len() - 1), ("changed", whole.len() - third + 20)] {
        let mut bytes = whole.clone();
        if name == "cut" {
            bytes.truncate(damage);
        } else {
            bytes[damage] ^= 1;
        }
        fs::write(&path, bytes).unwrap();
        let results = open(directory.path());
        assert_eq!(replay(&results, "b").unwrap().body, b"b", "{name}");
        assert_eq!(replay(&results, "c"), None, "{name}");
        run(&results, "d", 200, b"d");
        drop(results);
        let results = open(directory.path());
        assert!(replay(&results, "b").is_some() && replay(&results, "d").is_some(), "{name}");
    }
}

#[test]
fn any_bytes_at_all_start_empty_instead_of_failing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000003.results");
    let format = b"astromesh results 1\n";
    for bytes in [
        b"astromesh results 2\nfrom the future".to_vec(),
        Vec::new(),
        format[..5].to_vec(),
        [&format[..], &[0xff; 100]].concat(),
        [&format[..], &[0; 100]].concat(),
    ] {
        fs::write(&path, bytes).unwrap();
        fs::write(directory.path().join("notes.txt"), "not ours").unwrap();
        let results = open(directory.path());
        assert_eq!(results.counts().kept, 0);
        run(&results, "a", 200, b"");
        drop(results);
        let results = open(directory.path());
        assert!(replay(&results, "a").is_some());
        drop(results);
        for file in files(directory.path()) {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_leaves_results_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let results = open(&file.join("below"));
    run(&results, "a", 200, b"");
    results.flush();
    assert!(replay(&results, "a").is_some());
}

#[test]
fn the_files_stay_bounded_and_the_newest_results_stay_in_them() {
    let directory = tempfile::tempdir().unwrap();
    let bounds = Bounds { bytes_max: 12 << 20, ..Bounds::default() };
    let results = Results::open(directory.path(), bounds);
    let body = vec![7; 1_000_000];
    for index in 0..80 {
        run(&results, &index.to_string(), 200, &body);
        results.flush();
    }
    let kept = results.counts().kept;
    drop(results);
    let length: u64 =
        files(directory.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(length < 32 << 20, "{length} bytes");
    let results = Results::open(directory.path(), bounds);
    assert_eq!(results.counts().kept, kept);
    assert!(replay(&results, "79").is_some());

    drop(results);
    let over = Bounds { age_max: Duration::ZERO, ..bounds };
    assert_eq!(Results::open(directory.path(), over).counts().kept, 0);
    assert_eq!(files(directory.path()), Vec::<std::path::PathBuf>::new());
}
