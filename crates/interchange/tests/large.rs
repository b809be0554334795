//! A file of 100 MB: seconds, and memory for one conversation and not for the file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::alloc::System;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lilims_interchange::{Limits, read_file};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FILE_BYTES: usize = 100 << 20;
/// It takes about two seconds; other work on the machine may slow it down.
const MAX_TIME: Duration = Duration::from_secs(20);
/// A conversation has half a megabyte here.
const MAX_MEMORY_BYTES: usize = 16 << 20;

/// A conversation of ChatGPT with some hundred messages of a kilobyte.
fn conversation(n: usize) -> String {
    let text = r"The river \u2013 as \ud83d\ude00 said \u2013 flows.\n".repeat(20);
    let mut json = format!(
        r#"{{"title":"Number {n}","create_time":17{n:08}.5,"conversation_id":"{n}","mapping":{{"#
    );
    for message in 0..400 {
        let role = if message % 2 == 0 { "user" } else { "assistant" };
        let parent = message - 1;
        write!(
            json,
            r#"{}"{n}-{message}":{{"id":"{n}-{message}","parent":"{n}-{parent}","children":["{n}-{}"],
            "message":{{"author":{{"role":"{role}","name":null,"metadata":{{}}}},"create_time":1700000000.{message},
            "content":{{"content_type":"text","parts":["{text}"]}},"weight":1.0,
            "metadata":{{"model_slug":"gpt-4o","finish_details":{{"type":"stop","stop_tokens":[1,2]}}}}}}}}"#,
            if message == 0 { "" } else { "," },
            message + 1,
        )
        .unwrap();
    }
    write!(json, r#"}},"current_node":"{n}-399"}}"#).unwrap();
    json
}

#[test]
fn a_hundred_megabytes_take_seconds_and_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conversations.json");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let (mut n_bytes, mut n_written) = (0, 0);
    while n_bytes < FILE_BYTES {
        let json = conversation(n_written);
        file.write_all(if n_written == 0 { b"[" } else { b"," }).unwrap();
        file.write_all(json.as_bytes()).unwrap();
        n_bytes += json.len();
        n_written += 1;
    }
    file.write_all(b"]").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();

    let in_use = || {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
    };
    let (before, peak) = (in_use(), AtomicUsize::new(0));
    let (start, mut n_messages, mut n_read) = (Instant::now(), 0, 0);
    let summary = read_file(&path, &Limits::default(), &mut |_, conversation| {
        // Here the parsed item is gone and the conversation is whole.
        peak.fetch_max(in_use().saturating_sub(before), Ordering::Relaxed);
        n_messages += conversation.messages.len();
        n_read += 1;
        ControlFlow::Continue(())
    });
    let elapsed = start.elapsed();
    assert!(summary.unwrap().skipped.is_empty());
    assert_eq!((n_read, n_messages), (n_written, n_written * 400));
    let peak = peak.into_inner();
    println!("{n_bytes} bytes in {elapsed:?}, {peak} bytes of memory at a conversation");
    assert!(peak < MAX_MEMORY_BYTES, "{peak} bytes");
    assert!(elapsed < MAX_TIME, "{elapsed:?}");
}
