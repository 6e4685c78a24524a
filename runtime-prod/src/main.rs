//! `karst`, the broker: its command line, its signals, and how it ends.
#![forbid(unsafe_code)]

use karst::bench::Bench;
use karst::broker::{Broker, Event, Report, StartError};
use karst::config::{self, Command, Config};
use karst::exit::{self, Code, PanicGuard};
use karst::signals::{GiveUp, Signals};
use karst_core::limits::Limits;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
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
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(Code::PANIC, error),
    };
    runtime.block_on(async {
        match Signals::listen() {
            Ok(signals) => serve(config, signals, begun).await,
            Err(error) => complain(Code::PANIC, format_args!("cannot wait for signals: {error}")),
        }
    })
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
    // It would tell standard error, by a macro that panics: the broker outlives whoever read its log.
    let to = to.log_internal_errors(false);
    tracing_subscriber::registry().with(to).with(what).init();
}

async fn serve(config: &Config, mut signals: Signals, begun: Instant) -> Code {
    let (tell, events) = mpsc::unbounded_channel();
    let give_up = GiveUp::default();
    let broker = tokio::select! {
        biased;
        () = impatience(&mut signals, &give_up) => return Code::IMPATIENT,
        started = start(config.clone(), give_up.clone(), tell) => match started {
            Ok(broker) => broker,
            Err(error) => return complain(error.code, error.what),
        },
    };
    supervise(&broker, events, signals, give_up.is_asked(), begun).await
}

/// Starts the broker on a thread of its own, so that signals are heard meanwhile.
async fn start(config: Config, give_up: GiveUp, tell: mpsc::UnboundedSender<Event>) -> Result<Broker, StartError> {
    let (done, started) = oneshot::channel();
    let begin = move || {
        let _guard = PanicGuard::new("the start");
        // Nobody waits for it only when a second signal ends the process.
        let _ = done.send(Broker::start(&config, &Limits::default(), &give_up, tell));
    };
    std::thread::Builder::new().name("start".into()).spawn(begin).expect("without a thread there is no broker");
    started.await.expect("the thread answers, or its guard ends the process")
}

/// Ends when the operator has asked twice to stop a start.
async fn impatience(signals: &mut Signals, give_up: &GiveUp) {
    signals.stop().await;
    info!("stopping before it serves; a second signal stops at once");
    give_up.ask();
    signals.stop().await;
}

/// Passes on what the broker says and what the operator asks, until one of them ends it.
async fn supervise(
    broker: &Broker,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut signals: Signals,
    mut stopping: bool,
    begun: Instant,
) -> Code {
    if stopping {
        broker.stop();
    }
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                // It became ready while the request to stop was on its way.
                Some(Event::Ready(_)) if stopping => {}
                Some(Event::Ready(report)) => {
                    broker.admit();
                    announce(broker, &report, begun);
                }
                Some(Event::Halt(halt)) => {
                    broker.part(PARTING);
                    let (code, what) = exit::explain(&halt);
                    return if code == Code::CLEAN { said(code, &what) } else { complain(code, what) };
                }
                None => return complain(Code::PANIC, "the node is gone without a word"),
            },
            () = signals.stop() => {
                if stopping {
                    return Code::IMPATIENT;
                }
                stopping = true;
                info!("stopping: uploading what is in the WAL; a second signal stops at once");
                broker.stop();
            }
        }
    }
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
