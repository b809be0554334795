//! Written files are read back unchanged, and no input makes the reader crash or allocate more than
//! a small multiple of the file's size.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use lilims_gguf::{Error, FIRST_HEADER_BYTES, File, TensorType, Value, Writer, next_header_bytes};
use proptest::prelude::*;

/// Bytes that reading may allocate for each byte of the file, in addition to `BASE_BYTES`.
const MAX_GROWTH: usize = 32;
const BASE_BYTES: usize = 16 << 10;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes that each thread allocates.
struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe to write; this one forwards to System")]
// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Opens `bytes` as a file and reads all its metadata and tensors.
fn read(bytes: Vec<u8>) -> Result<(), Error> {
    let len = bytes.len();
    let before = ALLOCATED.get();
    let file = File::from_bytes(bytes);
    let allocated = ALLOCATED.get() - before;
    assert!(allocated <= BASE_BYTES + MAX_GROWTH * len, "{allocated} bytes for {len}");
    let file = file?;
    for (key, value) in file.metadata().iter() {
        assert_eq!(format!("{:?}", file.metadata().get(key)), format!("{:?}", Some(value)));
        if let Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len());
        }
    }
    for tensor in file.tensors() {
        match file.data(tensor) {
            Ok(data) => assert_eq!(data.len() as u64, tensor.size_bytes),
            Err(error) => assert!(matches!(error, Error::UnknownTensorType { .. }), "{error}"),
        }
    }
    Ok(())
}

/// Reads the header of a file of `total_bytes` from `prefix`, with the same limit on allocations.
fn read_header(prefix: &[u8], total_bytes: u64) -> Result<File, Error> {
    let prefix = prefix.to_vec();
    let len = prefix.len();
    let before = ALLOCATED.get();
    let file = File::from_header(prefix, total_bytes);
    let allocated = ALLOCATED.get() - before;
    assert!(allocated <= BASE_BYTES + MAX_GROWTH * len, "{allocated} bytes for {len}");
    if let Err(Error::PrefixTooShort { needed_bytes }) = file {
        assert!((len as u64 + 1..=total_bytes).contains(&needed_bytes), "{needed_bytes}");
    }
    file
}

/// Everything in a file's header, as text.
fn describe(file: &File) -> String {
    let metadata: Vec<_> = file.metadata().iter().collect();
    let tensors: Vec<_> =
        file.tensors().iter().map(|t| (&t.name, &t.dims, t.tensor_type, t.size_bytes)).collect();
    format!("{} {} {metadata:?} {tensors:?}", file.version(), file.total_bytes())
}

/// A small file with every kind of value.
fn sample() -> Vec<u8> {
    let mut inner = Vec::new();
    Writer::default()
        .array("a", [Value::String(b"x"), Value::String(b"")])
        .write(&mut inner)
        .unwrap();
    let inner = File::from_bytes(inner).unwrap();
    let strings = inner.metadata().get("a").unwrap();
    let mut writer = Writer::default();
    for (key, value) in scalars() {
        writer.value(key, value);
    }
    writer
        .value("copied", strings)
        .array("nested", [strings, strings])
        .array("ints", (0..5).map(Value::I32))
        .array("none", [])
        .tensor("w", &[32, 2], TensorType::Q4_0, vec![7; 36])
        .tensor("b", &[3], TensorType::F32, vec![1; 12])
        .tensor("odd", &[3], TensorType::Unknown(99), vec![2; 5]);
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    bytes
}

fn scalars() -> [(&'static str, Value<'static>); 12] {
    [
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-3)),
        ("u16", Value::U16(60_000)),
        ("i16", Value::I16(-30_000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-2_000_000_000)),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(-0.5)),
        ("f64", Value::F64(1e300)),
        ("bool", Value::Bool(true)),
        ("text", Value::String("Grüße".as_bytes())),
    ]
}

#[test]
fn round_trip() {
    let file = File::from_bytes(sample()).unwrap();
    let metadata = file.metadata();
    assert_eq!(file.version(), 3);
    for (key, value) in scalars() {
        assert_eq!(metadata.get(key), Some(value));
    }
    assert_eq!(metadata.str("text").unwrap(), "Grüße");
    let copied = metadata.array("copied").unwrap();
    assert_eq!(copied.strings().collect::<Vec<_>>(), [&b"x"[..], b""]);
    let nested: Vec<_> = metadata.array("nested").unwrap().iter().collect();
    assert_eq!(nested, [Value::Array(copied), Value::Array(copied)]);
    assert_eq!(metadata.array("ints").unwrap().iter().nth(4), Some(Value::I32(4)));
    assert!(metadata.array("none").unwrap().is_empty());
    assert_eq!(file.data(file.tensor("w").unwrap()).unwrap(), [7; 36]);
    assert_eq!(file.data(file.tensor("b").unwrap()).unwrap(), [1; 12]);
    assert!(matches!(metadata.u64("f32"), Err(Error::WrongType { .. })));
    assert!(matches!(metadata.u64("nope"), Err(Error::MissingKey { .. })));
    assert!(matches!(file.tensor("nope"), Err(Error::MissingTensor { .. })));
}

#[test]
fn lists_unknown_tensor_types_but_does_not_read_them() {
    let file = File::from_bytes(sample()).unwrap();
    let odd = file.tensor("odd").unwrap();
    assert_eq!(odd.tensor_type, TensorType::Unknown(99));
    assert!(matches!(file.data(odd), Err(Error::UnknownTensorType { type_id: 99, .. })));
}

#[test]
fn rejects_files_truncated_at_any_length() {
    let whole = sample();
    let data = File::from_bytes(whole.clone()).unwrap();
    let last = data.data(data.tensor("b").unwrap()).unwrap();
    let needed = last.as_ptr_range().end as usize - data.as_bytes().as_ptr() as usize;
    for len in 0..needed {
        assert!(read(whole[..len].to_vec()).is_err(), "{len} of {needed} bytes");
    }
    read(whole).unwrap();
}

#[test]
fn reads_the_header_from_any_sufficient_prefix() {
    let whole = sample();
    let total_bytes = whole.len() as u64;
    let expected = describe(&File::from_bytes(whole.clone()).unwrap());
    let mut header_bytes = None;
    for len in 0..whole.len() {
        match read_header(&whole[..len], total_bytes) {
            Ok(file) => {
                header_bytes.get_or_insert(len);
                assert_eq!(describe(&file), expected);
                for tensor in file.tensors() {
                    let error = file.data(tensor).unwrap_err();
                    let of_unknown = matches!(error, Error::UnknownTensorType { .. });
                    assert!(of_unknown || matches!(error, Error::HeaderOnly { .. }), "{error}");
                }
            }
            Err(error) => {
                assert!(matches!(error, Error::PrefixTooShort { .. }), "{len} bytes: {error}");
                assert!(header_bytes.is_none(), "{len} bytes, after {header_bytes:?} were enough");
            }
        }
    }
    assert!(header_bytes.unwrap() < whole.len());
    let file = read_header(&whole, total_bytes).unwrap();
    assert_eq!(file.data(file.tensor("w").unwrap()).unwrap(), [7; 36]);
}

#[test]
fn checks_the_header_against_the_length_of_the_file() {
    let whole = sample();
    let file = File::from_bytes(whole.clone()).unwrap();
    let last = file.data(file.tensor("b").unwrap()).unwrap();
    let needed = last.as_ptr_range().end as usize - file.as_bytes().as_ptr() as usize;
    for total_bytes in 0..needed as u64 {
        let error = read_header(&whole, total_bytes).err().unwrap();
        assert!(!matches!(error, Error::PrefixTooShort { .. }), "{total_bytes}: {error}");
    }
    // The file may be larger than memory.
    assert!(read_header(&whole, u64::MAX).is_ok());
}

#[test]
fn fetches_a_large_header_in_two_requests() {
    let texts: Vec<String> = (0..100_000).map(|n| format!("token {n}")).collect();
    let texts = texts.iter().map(|text| Value::String(text.as_bytes()));
    let mut writer = Writer::default();
    writer.array("tokens", texts).tensor("w", &[32, 2], TensorType::Q4_0, vec![7; 36]);
    let mut whole = Vec::new();
    writer.write(&mut whole).unwrap();
    let total_bytes = whole.len() as u64;
    let (mut held, mut n_requests) = (FIRST_HEADER_BYTES, 1);
    let file = loop {
        match read_header(&whole[..held as usize], total_bytes) {
            Ok(file) => break file,
            Err(error) => held = next_header_bytes(&error, held, total_bytes).unwrap(),
        }
        n_requests += 1;
    };
    assert_eq!(file.metadata().array("tokens").unwrap().len(), 100_000);
    assert_eq!(n_requests, 2, "{total_bytes} bytes");
}

#[test]
fn survives_any_flipped_bit() {
    let whole = sample();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = read(bytes);
    }
}

#[test]
fn survives_huge_numbers_anywhere() {
    let whole = sample();
    for at in 0..whole.len() - 8 {
        for huge in [u64::MAX, u64::MAX / 2, 1 << 40, u64::from(u32::MAX), 0] {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
            let _ = read(bytes);
        }
    }
}

#[test]
fn rejects_files_that_are_not_gguf() {
    let read = |bytes: &[u8]| File::from_bytes(bytes.to_vec()).err().unwrap();
    assert!(matches!(read(b""), Error::Magic { .. }));
    assert!(matches!(read(b"PK\x03\x04 a zip file that is no model"), Error::Magic { .. }));
    let mut old = sample();
    old[4] = 1;
    assert!(matches!(read(&old), Error::Version { version: 1 }));
    let path = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(File::open(path.path()), Err(Error::Empty { .. })));
    assert!(matches!(File::open(Path::new("/nowhere")), Err(Error::Io { .. })));
    assert!(matches!(File::open(&std::env::temp_dir()), Err(Error::Io { .. })));
}

#[test]
fn rejects_duplicate_names() {
    let mut bytes = Vec::new();
    Writer::default().str("a", "1").str("a", "2").write(&mut bytes).unwrap();
    assert!(matches!(File::from_bytes(bytes), Err(Error::Invalid { .. })));
    let mut bytes = Vec::new();
    let f32 = TensorType::F32;
    let mut writer = Writer::default();
    writer.tensor("a", &[1], f32, vec![0; 4]).tensor("a", &[1], f32, vec![0; 4]);
    writer.write(&mut bytes).unwrap();
    assert!(matches!(File::from_bytes(bytes), Err(Error::Invalid { .. })));
}

#[test]
fn reads_the_reference_vocabularies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/tokenizers");
    assert!(root.is_dir(), "{} is missing", root.display());
    let mut n_files = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gguf") {
            read(std::fs::read(&path).unwrap()).unwrap();
            assert!(File::open(&path).unwrap().metadata().get("tokenizer.ggml.tokens").is_some());
            n_files += 1;
        }
    }
    assert!(n_files >= 5, "only {n_files} files");
}

proptest! {
    #[test]
    fn survives_random_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        has_header in any::<bool>(),
    ) {
        if has_header && bytes.len() >= 24 {
            bytes[..8].copy_from_slice(b"GGUF\x03\0\0\0");
            // Small counts, so that the reader gets past the header.
            for at in [9, 17] {
                bytes[at..at + 7].fill(0);
            }
        }
        let _ = read(bytes);
    }

    #[test]
    fn survives_mutated_files(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let len = bytes.len() / 2 + cut.index(bytes.len() / 2 + 1);
        bytes.truncate(len);
        let _ = read(bytes);
    }

    #[test]
    fn survives_prefixes_of_mutated_files(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
        extra_bytes in prop_oneof![Just(0), any::<u64>()],
    ) {
        let mut bytes = sample();
        let total_bytes = (bytes.len() as u64).saturating_add(extra_bytes);
        let is_whole = changes.is_empty();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(len.index(bytes.len() + 1));
        let result = read_header(&bytes, total_bytes);
        let is_short = matches!(result, Err(Error::PrefixTooShort { .. }));
        prop_assert!(!is_whole || result.is_ok() || is_short);
    }
}

/// The start of a header up to its counts, without entries.
fn counts(n_tensors: u64, n_entries: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(n_tensors.to_le_bytes());
    bytes.extend(n_entries.to_le_bytes());
    bytes
}

#[test]
fn a11_rejects_too_many_keys_or_tensors() {
    let mut bytes = counts(0, (1 << 16) + 1);
    for key in 0..=1u64 << 16 {
        bytes.extend(4u64.to_le_bytes());
        bytes.extend((key as u32).to_be_bytes().map(|byte| byte / 2));
        bytes.extend([0, 0, 0, 0, 7]);
    }
    let error = File::from_bytes(bytes).err().unwrap();
    assert!(error.to_string().contains("65537 metadata keys"), "{error}");
    let mut bytes = counts((1 << 17) + 1, 0);
    bytes.resize(24 * ((1 << 17) + 2), 0);
    let error = File::from_bytes(bytes).err().unwrap();
    assert!(error.to_string().contains("131073 tensors"), "{error}");
}

#[test]
fn a11_the_maximum_number_of_keys_takes_little_memory() {
    let mut writer = Writer::default();
    for key in 0..1u32 << 16 {
        writer.value(&format!("{key:x}"), Value::U32(key));
    }
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    let (len, before) = (bytes.len(), ALLOCATED.get());
    let file = File::from_bytes(bytes).unwrap();
    let allocated = ALLOCATED.get() - before;
    // The list of entries grows by doubling, and the index is a list of u32.
    assert!(allocated <= 8 * len, "{allocated} bytes for {len}");
    for key in [0, 1, 0x7777, 0xffff] {
        assert_eq!(file.metadata().u64(&format!("{key:x}")).unwrap(), key);
    }
    assert!(file.metadata().get("10000").is_none());
    assert_eq!(file.metadata().iter().count(), 1 << 16);
}

#[test]
fn a11_rejects_long_names_and_truncates_them_in_messages() {
    for at_key in [true, false] {
        let (name, mut bytes) = ("x".repeat(70_000), Vec::new());
        let mut writer = Writer::default();
        match at_key {
            true => writer.str(&name, ""),
            false => writer.tensor(&name, &[1], TensorType::F32, vec![0; 4]),
        };
        writer.write(&mut bytes).unwrap();
        let error = File::from_bytes(bytes).err().unwrap().to_string();
        assert!(error.contains("70000 bytes") && error.len() < 300, "{error}");
    }
    let (name, mut bytes) = ("x".repeat(60_000), Vec::new());
    Writer::default().str(&name, "1").str(&name, "2").write(&mut bytes).unwrap();
    let error = File::from_bytes(bytes).err().unwrap().to_string();
    assert!(error.contains("appears twice") && error.len() < 900, "{error}");
}

#[test]
fn rejects_overlapping_tensors() {
    let mut bytes = Vec::new();
    let mut writer = Writer::default();
    let f32 = TensorType::F32;
    writer.tensor("a", &[8], f32, vec![0; 32]).tensor("b", &[8], f32, vec![0; 32]);
    writer.write(&mut bytes).unwrap();
    let at = bytes.windows(8).rposition(|eight| eight == 32u64.to_le_bytes()).unwrap();
    bytes[at..at + 8].fill(0);
    let error = File::from_bytes(bytes).err().unwrap();
    assert!(error.to_string().contains("overlap"), "{error}");
}
