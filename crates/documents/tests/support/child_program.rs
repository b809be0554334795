//! The program that tests start as the child: it reads PDFs as the real one does, and misbehaves where
//! the file asks for it.

use std::process::{abort, exit};
use std::thread::sleep;
use std::time::Duration;

use lilims_documents::child::{Extracted, Failure, read_pages, run_if_requested_with};

fn main() {
    run_if_requested_with(hostile);
    exit(3);
}

fn hostile(
    bytes: Vec<u8>,
    text_bytes: usize,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Extracted, Failure> {
    let text = match bytes.strip_prefix(b"%PDF-hostile ") {
        None => return read_pages(bytes, text_bytes, is_stopped),
        Some(b"sleep") => {
            sleep(Duration::from_secs(600));
            String::new()
        }
        Some(b"allocate") => {
            let mut memory = vec![1_u8; 1 << 20];
            loop {
                memory.extend_from_within(..1 << 20);
            }
        }
        Some(b"reserve") => format!("{:?}", Vec::<u8>::with_capacity(8 << 30)),
        Some(b"recurse") => recurse(1).to_string(),
        Some(b"panic") => panic!("as a reader may"),
        Some(b"abort") => abort(),
        Some(b"exit") => exit(0),
        Some(b"flood") => "x".repeat(text_bytes + (2 << 20)),
        Some(b"open") => match std::fs::File::open("/dev/null") {
            Ok(_) => "opened".to_owned(),
            Err(_) => "refused".to_owned(),
        },
        Some(_) => return Err(Failure::Damaged),
    };
    Ok(Extracted { text, n_pages: 1, ..Extracted::default() })
}

#[expect(unconditional_recursion, reason = "it overflows the stack, as a reader may")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box([depth; 64]).len() as u64 + recurse(depth + 1)
}
