//! `karst`, the broker: its command line, its signals, and how it ends.
#![forbid(unsafe_code)]

use karst::bench::Bench;
use karst::broker::{Broker, Event, Report};
use karst::config::{self, Command, Config};
use karst::exit::{self, Code, PanicGuard};
use karst_core::limits::Limits;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What clients get to read their last answers before the process ends.
const PARTING: Duration = Duration::from_millis(500);

fn main() {
    let _guard = PanicGuard::new("the main thread");
    let code = match config::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(config)) => run(&config),
        Ok(Command::Bench(bench)) => measure(&bench),
        Ok(Command::Help) => print(config::help()),
        Ok(Command::Version) => print(concat!("karst ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => complain(Code::USAGE, format_args!("{error}\nTry 'karst --help'.")),
    };
    code.exit();
}

fn run(config: &Config) -> Code {
    let begun = Instant::now();
    log(config.log.clone());
    let (tell, mut events) = mpsc::unbounded_channel();
    let broker = match Broker::start(config, &Limits::default(), tell) {
        Ok(broker) => broker,
        Err(error) => return complain(error.code, error.what),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(Code::PANIC, error),
    };
    match runtime.block_on(supervise(&broker, &mut events, begun)) {
        Ok(code) => code,
        Err(error) => complain(Code::PANIC, format_args!("cannot wait for signals: {error}")),
    }
}

fn measure(bench: &Bench) -> Code {
    log(Targets::new().with_default(LevelFilter::WARN));
    match bench.run() {
        Ok(result) => print(result),
        Err(failure) => complain(Code::BENCH, failure),
    }
}

fn log(what: Targets) {
    let to = tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    tracing_subscriber::registry().with(to).with(what).init();
}

/// Passes on what the broker says and what the operator asks, until one of them ends it.
async fn supervise(broker: &Broker, events: &mut mpsc::UnboundedReceiver<Event>, begun: Instant) -> io::Result<Code> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(Event::Ready(report)) => {
                    broker.admit();
                    announce(broker, &report, begun);
                }
                Some(Event::Halt(halt)) => {
                    broker.part(PARTING);
                    let (code, what) = exit::explain(&halt);
                    return Ok(if code == Code::CLEAN { said(code, &what) } else { complain(code, what) });
                }
                None => return Ok(complain(Code::PANIC, "the node is gone without a word")),
            },
            _ = terminate.recv() => {
                if asked_to_stop(broker, &mut stopping) { return Ok(Code::IMPATIENT) }
            }
            _ = interrupt.recv() => {
                if asked_to_stop(broker, &mut stopping) { return Ok(Code::IMPATIENT) }
            }
        }
    }
}

/// Whether this is not the first time.
fn asked_to_stop(broker: &Broker, stopping: &mut bool) -> bool {
    if !std::mem::replace(stopping, true) {
        info!("stopping: uploading what is in the WAL; a second signal stops at once");
        broker.stop();
        return false;
    }
    true
}

fn announce(broker: &Broker, report: &Report, begun: Instant) {
    info!(
        "ready: listening on {}, advertised as {}, cluster {}, recovered {} records ({} bytes) in {} ms",
        broker.listening(),
        broker.advertised(),
        report.cluster,
        report.records,
        report.bytes,
        begun.elapsed().as_millis()
    );
}

fn said(code: Code, what: &str) -> Code {
    info!("{what}");
    code
}

fn print(text: impl Display) -> Code {
    // A reader that has enough (`karst --help | head`) is no error.
    let _ = io::stdout().write_all(text.to_string().as_bytes());
    Code::CLEAN
}

fn complain(code: Code, what: impl Display) -> Code {
    let _ = writeln!(io::stderr(), "karst: {what}");
    code
}
