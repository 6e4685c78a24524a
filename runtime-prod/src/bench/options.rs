//! The command line of `karst bench`.

use super::{Bench, Form, Subject};
use crate::config::{UsageError, value};
use crate::flags::Flags;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The text of `karst bench --help`.
pub(super) const HELP: &str = "\
karst bench: what a broker reaches and costs, beside what its disk can do

Figures of different runs can't be compared on a shared machine: use the ratios within one run. Nothing that was there
before is touched; what a benchmark writes is removed when it ends by itself.

karst bench disk [--dir DIR]
  The disk alone: O_DIRECT and O_DSYNC writes into a pre-written file.
  --dir DIR               on which disk [.]

karst bench broker [--data-dir DIR | --connect HOST:PORT [--data-dir DIR]]
  Produce (acks=all) and consume, with Kafka's protocol over a socket: latency of one record at a time, in turns with
  the disk's own 4 KiB write; throughput of batches of 1 MB, 8 in flight per connection, beside the disk's own;
  consumption from the log cache, and from objects. Processor time of broker and client are told apart, and a note says
  when the client is the limit.
  --data-dir DIR          where a broker is started for this run, and whose disk is measured [.]
  --connect HOST:PORT     measure this broker, which must lead every new topic, instead of starting one
  --connections N         producers and consumers at once, a partition each [2]
  --record-size BYTES     of each record's value [1024]

karst bench reads
  Consumers that are far behind, one and ten of the same partition, of a broker whose object store takes long for each
  request: what they get with and without reading ahead, how many GETs that takes, and what a producer notices of them.
  --data-dir DIR          where a broker is started for this run [.]
  --delay-ms MS           what each request to the store takes besides [50]
  --mebibytes MIB         how much there is to consume [256]

karst bench object-wal
  A broker whose WAL is in an object store that takes long for each request: how long a produce takes, beside the store's
  own puts; of records that come after a pause, of others, which are gathered, and of batches that fill objects.
  --data-dir DIR          where a broker is started for this run [.]
  --delay-ms MS           what each request to the store takes besides [50]
  --record-size BYTES     of each record's value [1024]

karst bench core
  The machines of the core on one thread, as in a broker but without socket, disk and store, which are done at once:
  processor time per batch, from request bytes to answer bytes, and which machine takes it.
  --record-size BYTES     of each record's value [1024]

Each of them:
  --seconds S             length of each measurement [5]
  --json                  one JSON object instead of tables
";

/// Batches stay below Kafka's default of message.max.bytes.
const LARGEST_RECORD: u32 = 900_000;

/// What is measured of a disk.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Where the file is made.
    pub dir: PathBuf,
    /// Length of each measurement.
    pub during: Duration,
}

/// What is measured of a broker.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Which one.
    pub against: Against,
    /// Where files are made: the disk's, and those of a broker that is started.
    pub dir: PathBuf,
    /// Length of each measurement.
    pub during: Duration,
    /// Bytes of each record's value.
    pub record: usize,
    /// Producers and consumers at once.
    pub connections: usize,
}

/// Which broker is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// One that is started for the purpose.
    Own,
    /// One that runs at HOST:PORT.
    Running(String),
}

/// What is measured of consumers that are behind.
#[derive(Clone, Debug)]
pub struct ReadsOptions {
    /// Where files are made.
    pub dir: PathBuf,
    /// How long a producer is measured.
    pub during: Duration,
    /// What each request to the store takes besides.
    pub delay: Duration,
    /// How much there is to consume.
    pub bytes: u64,
}

/// What is measured of a broker whose WAL is in the object store.
#[derive(Clone, Debug)]
pub struct ObjectWalOptions {
    /// Where files are made.
    pub dir: PathBuf,
    /// Length of each measurement.
    pub during: Duration,
    /// What each request to the store takes besides.
    pub delay: Duration,
    /// Bytes of each record's value.
    pub record: usize,
}

/// What is measured of the core.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// Length of each measurement.
    pub during: Duration,
    /// Bytes of each record's value.
    pub record: usize,
}

/// Everything that may be said, at its default.
struct All {
    dir: PathBuf,
    against: Against,
    during: Duration,
    record: usize,
    connections: usize,
    delay: Duration,
    bytes: u64,
    form: Form,
}

/// Reads what follows `karst bench`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Bench, UsageError> {
    let mut flags = Flags::new(arguments);
    let Some(subject) = flags.advance()? else { return Ok(explain()) };
    let known: &[&str] = match subject.as_str() {
        "disk" => &["--dir"],
        "broker" => &["--data-dir", "--connect", "--connections", "--record-size"],
        "core" => &["--record-size"],
        "reads" => &["--data-dir", "--delay-ms", "--mebibytes"],
        "object-wal" => &["--data-dir", "--delay-ms", "--record-size"],
        "--help" | "-h" => return Ok(explain()),
        _ => {
            return Err(UsageError(format!(
                "there is no benchmark {subject:?}: there are disk, broker, reads, object-wal and core"
            )));
        }
    };
    let mut all = All {
        dir: ".".into(),
        against: Against::Own,
        during: Duration::from_secs(5),
        record: 1024,
        connections: 2,
        delay: Duration::from_millis(50),
        bytes: 256 << 20,
        form: Form::Table,
    };
    while let Some(flag) = flags.advance()? {
        match flag.as_str() {
            "--help" | "-h" => return Ok(explain()),
            "--json" => all.form = Form::Json,
            "--seconds" => all.during = Duration::from_secs(number(&flag, &flags.value()?, 3600)?.into()),
            flag if !known.contains(&flag) => return Err(flags.unknown(|_| None)),
            "--record-size" => all.record = number(&flag, &flags.value()?, LARGEST_RECORD)? as usize,
            "--connections" => all.connections = number(&flag, &flags.value()?, 1000)? as usize,
            "--delay-ms" => all.delay = Duration::from_millis(number(&flag, &flags.value()?, 10_000)?.into()),
            "--mebibytes" => all.bytes = u64::from(number(&flag, &flags.value()?, 1 << 20)?) << 20,
            "--connect" => {
                let address = flags.value()?;
                value::endpoint(&address).map_err(|what| UsageError(format!("{flag} {address:?} {what}")))?;
                all.against = Against::Running(address);
            }
            _ => {
                let dir = flags.value()?;
                value::not_empty(&dir).map_err(|what| UsageError(format!("{flag} {what}")))?;
                all.dir = dir.into();
            }
        }
    }
    let All { dir, against, during, record, connections, delay, bytes, form } = all;
    let subject = match subject.as_str() {
        "disk" => Subject::Disk(DiskOptions { dir, during }),
        "broker" => Subject::Broker(BrokerOptions { against, dir, during, record, connections }),
        "reads" => Subject::Reads(ReadsOptions { dir, during, delay, bytes }),
        "object-wal" => Subject::ObjectWal(ObjectWalOptions { dir, during, delay, record }),
        _ => Subject::Core(CoreOptions { during, record }),
    };
    Ok(Bench { subject, form })
}

fn explain() -> Bench {
    Bench { subject: Subject::Help, form: Form::Table }
}

fn number(flag: &str, value: &str, most: u32) -> Result<u32, UsageError> {
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| UsageError(format!("{flag} {value:?} is not a number from 1 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Bench, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn each_subject_has_its_options() {
        let bench = read("broker --connect=h:1 --seconds 9 --connections 3 --record-size 100 --json").expect("legal");
        assert_eq!(bench.form, Form::Json);
        match bench.subject {
            Subject::Broker(options) => {
                assert_eq!(options.against, Against::Running("h:1".into()));
                assert_eq!((options.during, options.connections), (Duration::from_secs(9), 3));
                assert_eq!((options.record, options.dir), (100, ".".into()));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(read("disk --dir /d").expect("legal").subject, Subject::Disk(DiskOptions { .. })));
        match read("reads --delay-ms 7 --mebibytes 3").expect("legal").subject {
            Subject::Reads(options) => {
                assert_eq!((options.delay, options.bytes), (Duration::from_millis(7), 3 << 20));
            }
            other => panic!("{other:?}"),
        }
        match read("object-wal --delay-ms 7 --record-size 9").expect("legal").subject {
            Subject::ObjectWal(options) => {
                assert_eq!((options.delay, options.record), (Duration::from_millis(7), 9));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(read("core").expect("legal").subject, Subject::Core(_)));
        assert!(matches!(read("").expect("legal").subject, Subject::Help));
        assert!(matches!(read("disk --help").expect("legal").subject, Subject::Help));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("tape", "no benchmark \"tape\""),
            ("disk --connections 1", "no option --connections"),
            ("core --dir /d", "no option --dir"),
            ("broker --connections 0", "not a number from 1"),
            ("broker --record-size 1000000", "not a number from 1"),
            ("broker --connect 9092", "not HOST:PORT"),
            ("disk --json=1", "--json takes no value"),
            ("disk --dir", "--dir needs a value"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
