//! `karst`, the broker: its command line, its signals, and how it ends.
#![forbid(unsafe_code)]

use karst::admin::Told;
use karst::bench::Bench;
use karst::broker::{Broker, Event, Report, StartError};
use karst::command::{self, Command};
use karst::config::{self, Config, LogFormat};
use karst::exit::{self, Code, PanicGuard};
use karst::failure::Failure;
use karst::log;
use karst::monitor::{Monitor, Phase};
use karst::signals::{GiveUp, Signals};
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tracing::info;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// What clients get to read their last answers before the process ends.
const PARTING: Duration = Duration::from_millis(500);

/// What takes long is told so often.
const REMINDER: Duration = Duration::from_secs(5);

fn main() {
    let _guard = PanicGuard::new("the main thread");
    let code = match command::parse(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Command::Run(config)) => run(&config),
        Ok(Command::Reference) => print(config::reference()),
        Ok(Command::Effective(loaded)) => print(config::effective(&loaded)),
        Ok(Command::Admin(admin)) => tell(admin.run()),
        Ok(Command::Inspect(inspect)) => tell(inspect.run()),
        Ok(Command::Wal(order)) => tell(order.run()),
        Ok(Command::Bench(bench)) => measure(&bench),
        Ok(Command::Help) => print(command::help()),
        Ok(Command::Version) => print(concat!("karst ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => complain(Code::USAGE, format_args!("{error}\nTry 'karst --help'.")),
    };
    code.exit();
}

fn tell(told: Result<Told, Failure>) -> Code {
    match told {
        Ok(Told::Well(told)) => print(told),
        Ok(Told::Unwell(told)) => {
            print(told);
            Code::FAILED
        }
        Err(failure) => complain(Code::FAILED, failure),
    }
}

fn run(config: &Config) -> Code {
    let begun = Instant::now();
    log::start(config.log.clone(), config.log_format);
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
    log::start(Targets::new().with_default(LevelFilter::WARN), LogFormat::Human);
    match bench.run() {
        Ok(result) => print(result),
        Err(failure) => complain(Code::FAILED, failure),
    }
}

async fn serve(config: &Config, mut signals: Signals, begun: Instant) -> Code {
    let monitor = Arc::new(Monitor::new(config.node));
    let (tell, events) = mpsc::unbounded_channel();
    let give_up = GiveUp::default();
    let broker = tokio::select! {
        biased;
        () = impatience(&mut signals, &give_up) => return Code::IMPATIENT,
        () = monitor.tell(REMINDER) => unreachable!("it tells for ever"),
        started = start(config.clone(), monitor.clone(), give_up.clone(), tell) => match started {
            Ok(broker) => broker,
            Err(error) => return complain(error.code, error.what),
        },
    };
    tokio::select! {
        biased;
        () = monitor.tell(REMINDER) => unreachable!("it tells for ever"),
        code = supervise(&broker, &monitor, (events, signals), give_up.is_asked(), begun) => code,
    }
}

/// Starts the broker on a thread of its own, so that signals are heard meanwhile.
async fn start(
    config: Config,
    monitor: Arc<Monitor>,
    give_up: GiveUp,
    tell: mpsc::UnboundedSender<Event>,
) -> Result<Broker, StartError> {
    let (done, started) = oneshot::channel();
    let begin = move || {
        let _guard = PanicGuard::new("the start");
        // Nobody waits for it only when a second signal ends the process.
        let _ = done.send(Broker::start(&config, &monitor, &give_up, tell));
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
    monitor: &Monitor,
    (mut events, mut signals): (mpsc::UnboundedReceiver<Event>, Signals),
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
                    monitor.enter(Phase::Serving);
                    announce(broker, &report, begun);
                }
                Some(Event::Halt(halt)) => {
                    // By itself, perhaps.
                    monitor.enter(Phase::Stopping);
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
    log::error(&what.to_string());
    code
}
