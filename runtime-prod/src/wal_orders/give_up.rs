//! `karst wal give-up`: what a WAL that is lost takes with it, and its end.

use super::registration::Registration;
use super::{Consent, Lost};
use crate::admin::Told;
use crate::client::Client;
use crate::config::{Config, Endpoint};
use crate::data_dir;
use crate::exit;
use crate::facts::utc;
use crate::failure::Failure;
use crate::inspect;
use crate::store::{Directory, S3, Submit, Workers};
use kafka_protocol::messages::MetadataRequest;
use karst_core::id::{ClusterId, NodeEpoch, NodeId};
use karst_core::mail::Halt;
use karst_core::metadata::{EpochImage, Image, NodeImage, StreamImage, StreamState, WalKind};
use karst_core::wal::Inspection;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A broker that runs accepts a connection so soon.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(Lost(lost): Lost, consent: Consent, config: &Config) -> Result<Told, Failure> {
    let claim = || data_dir::claim(&config.data_dir).map_err(|refused| Failure::new(refused.what));
    let _lock = if config.keeps_files() { Some(claim()?) } else { None };
    let audit = inspect::audit(config)?;
    let image = audit.image();
    let node = image.nodes.get(&config.node).ok_or_else(|| {
        Failure::new(format_args!("cluster {} has never heard of broker {}: see --node-id", image.cluster, config.node))
    })?;
    let Some((epoch, waited_for)) = node.epochs.first_key_value() else {
        return match node.given_up.filter(|given_up| given_up.wal == lost) {
            Some(given_up) => Ok(Told::Well(format!("{lost} was given up before, at {}\n", utc(given_up.at)))),
            None => Err(Failure::new(format_args!(
                "broker {} has no WAL to give up: all that it acknowledged is in the bucket. Start it",
                config.node
            ))),
        };
    };
    if waited_for.wal != lost {
        return Err(Failure::new(format_args!(
            "what is not in the bucket yet is in the WAL {}, not in {lost}; nothing was changed",
            waited_for.wal
        )));
    }
    let found = inspect::find_wal(config)?;
    if matches!(&found, Inspection::Ring(found) if found.life.uuid == lost && found.life.node == config.node) {
        return Err(Failure::new(format_args!(
            "{} is the WAL {lost}, and can be read: start the broker, and nothing is lost. If the broker refuses it as \
             damaged, karst wal blank --overwrite forgets it first; nothing was changed",
            config.wal()
        )));
    }
    check_it_is_down(node, config.node, image.cluster)?;
    let loss = tell(image, config, (*epoch, waited_for), &found);
    if consent == Consent::Wanting && !ask(&loss)? {
        let shown = if io::stdin().is_terminal() { String::new() } else { loss };
        return Ok(Told::Unwell(format!("{shown}Nothing was changed: --yes gives the WAL up.\n")));
    }
    let registration = Registration { cluster: image.cluster, lost, host: &node.host, port: node.port, found };
    match registration.carry_out(config, open(config)?)? {
        Halt::GivenUp => {
            let shown = if consent == Consent::Given { loss } else { String::new() };
            Ok(Told::Well(format!("{shown}The WAL {lost} is given up. The next start takes the disk that it finds.\n")))
        }
        other => Err(Failure::new(exit::explain(&other).1)),
    }
}

/// Shows what is lost to whoever sits there, and asks. Nobody to ask is a no.
fn ask(loss: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("{loss}Give it up? Type yes: ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn open(config: &Config) -> Result<Box<dyn Submit>, Failure> {
    match &config.bucket {
        Some(location) => Ok(Box::new(S3::open(location, &config.credentials).map_err(Failure::new)?)),
        None => {
            let directory = Directory::open(&config.objects()).map_err(Failure::new)?;
            Ok(Box::new(Workers::start(directory, config.store_threads)))
        }
    }
}

/// A broker that runs elsewhere has its WAL.
fn check_it_is_down(node: &NodeImage, id: NodeId, cluster: ClusterId) -> Result<(), Failure> {
    let address = Endpoint { host: node.host.clone(), port: node.port }.to_string();
    let known = address.to_socket_addrs().into_iter().flatten();
    if known.into_iter().all(|known| TcpStream::connect_timeout(&known, PATIENCE).is_err()) {
        return Ok(());
    }
    // Somebody else may have its address by now.
    let Ok(answer) = Client::connect(&address).and_then(|mut client| client.ask(9, &MetadataRequest::default())) else {
        return Ok(());
    };
    let is_ours = answer.cluster_id.is_some_and(|told| *told == *cluster.to_string());
    let is_it = answer.brokers.iter().any(|broker| u32::try_from(broker.node_id.0) == Ok(id.0));
    if is_ours && is_it {
        return Err(Failure::new(format_args!(
            "broker {id} runs, at {address}: its WAL is not lost; nothing was changed"
        )));
    }
    Ok(())
}

/// What giving up that WAL loses, for people.
fn tell(image: &Image, config: &Config, (epoch, waited_for): (NodeEpoch, &EpochImage), found: &Inspection) -> String {
    let node = config.node;
    let mut out = String::new();
    // Writing to a text can't fail.
    let _ = writeln!(
        out,
        "The WAL {} of broker {node}, node epoch {epoch}, is the only place that has what was acknowledged and is not in \
         the bucket. {} Without it these partitions end where they are committed:",
        waited_for.wal,
        match found {
            Inspection::Blank => format!("{} has none.", config.wal()),
            Inspection::Objects if waited_for.kind == WalKind::Objects => {
                "It is in the object store: only if a start refuses it, is anything of it lost.".into()
            }
            Inspection::Objects => format!("{} is another kind of WAL.", config.wal()),
            Inspection::Ring(found) => format!("{} has another one, {}.", config.wal(), found.life.uuid),
            Inspection::Refused(why) | Inspection::Unreadable(why) => format!("{} is no use: {why}.", config.wal()),
        }
    );
    let open = image.streams.values().filter(|stream| (stream.owner, stream.state) == (node, StreamState::Open(epoch)));
    let mut lines: Vec<String> = open.filter_map(|stream| partition(image, stream)).collect();
    lines.sort_unstable();
    lines.iter().for_each(|line| out.push_str(line));
    if lines.is_empty() {
        out.push_str("  none: it has no partitions\n");
    }
    out.push_str(
        "What lay above is lost for good; nobody can know how much that is. Its offsets are given again, to other records \
         in a later leader epoch: consumers that have read on notice that, or are out of range and begin as \
         auto.offset.reset says. Consumer groups go on from what they had committed by then, and idempotent producers \
         whose last batches are lost begin a new epoch.\n",
    );
    out
}

fn partition(image: &Image, stream: &StreamImage) -> Option<String> {
    let name = format!("{}-{}", image.topics.get(&stream.topic)?.name.as_str(), stream.partition);
    let last = stream.ranges.last_key_value().map(|(_, range)| range.committed);
    let since = last.map_or("nothing is committed".into(), |at| format!("last committed at {}", utc(at)));
    Some(format!("  {name:<40} offset {:<12} {since}\n", stream.end))
}
