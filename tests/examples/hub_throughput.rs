//! Measures the throughput of a verified download over loopback against `curl`, which does not
//! verify: the medians of five alternating runs each.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lilims_gguf::{TensorType, Writer};
use lilims_hub::{Client, Downloader, Library, Outcome, Source, Timeouts};
use lilims_tests::hub_server::{Content, HubServer, Repo};

const ID: &str = "owner/large";
const FILE: &str = "large.gguf";
const DATA_BYTES: u64 = 2 << 30;
const RUNS: usize = 5;

fn main() -> Result<()> {
    let content = model()?;
    let hub = HubServer::start();
    hub.add(Repo::new(ID).with_file(FILE, content.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rate = |seconds: f64| content.len_bytes() as f64 / 1e6 / seconds;
    let (mut ours, mut curls) = (Vec::new(), Vec::new());
    for run in 1..=RUNS {
        ours.push(rate(runtime.block_on(download(&hub))?));
        curls.push(rate(curl(&hub)?));
        println!("{run}: Lilims {:.0} MB/s, curl {:.0} MB/s", ours[run - 1], curls[run - 1]);
    }
    let (ours, curls) = (median(ours), median(curls));
    println!("medians: Lilims {ours:.0} MB/s, curl {curls:.0} MB/s, {:.2} ×", ours / curls);
    Ok(())
}

/// A file with a valid GGUF header and generated data.
fn model() -> Result<Content> {
    let mut head = Vec::new();
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama");
    writer.tensor("token_embd.weight", &[DATA_BYTES / 4], TensorType::F32, Vec::new());
    writer.write(&mut head)?;
    Ok(Content::generated(1, head.len() as u64 + DATA_BYTES).with_head(head))
}

/// Downloads into a new library and returns the duration in seconds.
async fn download(hub: &HubServer) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let library = Arc::new(Library::open(folder.path())?);
    let client = Client::new(library.clone(), &hub.endpoint(), Timeouts::default())?;
    let source = Source {
        repository: ID.to_owned(),
        file: FILE.to_owned(),
        revision: "main".to_owned(),
        sha256: None,
    };
    let start = Instant::now();
    let id = library.enqueue(&source)?;
    match Downloader::new(client).run_until_done(id, |_| ()).await? {
        Outcome::Done(_) => Ok(start.elapsed().as_secs_f64()),
        other => bail!("{other:?}"),
    }
}

fn curl(hub: &HubServer) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let address = format!("{}/{ID}/resolve/main/{FILE}", hub.endpoint());
    let start = Instant::now();
    let status = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--location", "--output"])
        .args([folder.path().join(FILE).as_path(), Path::new(&address)])
        .status()
        .context("curl does not start")?;
    if !status.success() {
        bail!("curl: {status}");
    }
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
