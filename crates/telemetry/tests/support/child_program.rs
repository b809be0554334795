//! The program that tests start: it switches telemetry on and panics as its second argument asks.

use std::path::PathBuf;
use std::process::exit;
use std::thread;

use lilims_telemetry::{DeviceClass, DeviceFacts, Options, Pauses, Telemetry};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(job)) = (arguments.next(), arguments.next()) else { exit(2) };
    let telemetry = Telemetry::new(options(folder.into()));
    telemetry.switch_on().expect("a folder of the test");
    match job.as_str() {
        "worker" => panic_in_worker(),
        "exit" => {
            panic_in_worker();
            exit(7);
        }
        "main" => {
            panic_in_worker();
            drop(telemetry);
            panic!("SECRET-MESSAGE in main");
        }
        "repeated" => (0..5).for_each(|_| panic_in_worker()),
        "off" => {
            telemetry.switch_off().expect("a folder of the test");
            panic_in_worker();
            panic!("SECRET-MESSAGE in main");
        }
        _ => exit(2),
    }
}

fn panic_in_worker() {
    let worker = thread::Builder::new().name("SECRET-THREAD".to_string());
    let worker = worker.spawn(|| panic!("SECRET-MESSAGE in a worker")).expect("a thread");
    assert!(worker.join().is_err());
}

fn options(folder: PathBuf) -> Options {
    let facts = DeviceFacts {
        os_version: Some("6.8"),
        instruction_set: "avx2",
        n_cores: 4,
        memory_bytes: 8 << 30,
    };
    Options {
        folder,
        dsn: Some("http://SECRET-KEY@127.0.0.1:9/7".to_string()),
        version: "0.1.0",
        environment: "test",
        allowed_models: Vec::new(),
        device: DeviceClass::new(facts),
        pauses: Pauses::default(),
    }
}
