//! The pages that the HTTP listener has.

use super::exposition::{CONTENT_TYPE, Kind, Text};
use super::histogram::Histogram;
use super::metrics::{Asker, Gauge, IoMetrics, OUTCOMES, Operation};
use super::status::Status;
use super::{Detail, Monitor, Phase, ShardView, groups, reads};
use crate::json::Object;
use karst_core::kafka::Api;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An owner that takes no turn for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

/// The page at that path, if there is one.
pub(crate) async fn page(monitor: &Monitor, path: &str) -> Option<Page> {
    Some(match path {
        "/" => plain(
            200,
            "/metrics  for Prometheus\n/healthz  whether it lives\n/readyz   whether it serves\n/status   how it is, as JSON\n/status.txt\n",
        ),
        "/healthz" => health(monitor).await,
        "/readyz" => readiness(monitor),
        "/metrics" => {
            Page { code: 200, content_type: CONTENT_TYPE, body: metrics(monitor, view(monitor).await.as_ref()) }
        }
        "/status" => Page { code: 200, content_type: JSON, body: status_json(monitor, view(monitor).await.as_ref()) },
        "/status.txt" => plain(200, &status_text(monitor, view(monitor).await.as_ref())),
        _ => return None,
    })
}

pub(super) fn plain(code: u16, body: &str) -> Page {
    Page { code, content_type: PLAIN, body: body.into() }
}

async fn view(monitor: &Monitor) -> Option<ShardView> {
    monitor.owners.get()?.shard.now(Detail::Groups, PATIENCE).await
}

async fn health(monitor: &Monitor) -> Page {
    match monitor.owners.get() {
        // A panic anywhere ends the process: what is left to be found is an owner that hangs.
        Some(owners) if owners.shard.now(Detail::Brief, PATIENCE).await.is_none() => {
            plain(503, "the shard does not answer\n")
        }
        _ => plain(200, "alive\n"),
    }
}

fn readiness(monitor: &Monitor) -> Page {
    let phase = monitor.status().phase;
    if phase == Phase::Serving { plain(200, "serving\n") } else { plain(503, &format!("{phase}\n")) }
}

fn status_json(monitor: &Monitor, view: Option<&ShardView>) -> String {
    let status = monitor.status();
    let mut all = Object::default();
    all.text("version", env!("CARGO_PKG_VERSION"));
    all.number("node", status.node.0);
    if let Some((cluster, epoch)) = status.member {
        all.text("cluster", &cluster.to_string());
        all.number("epoch", epoch.0);
    }
    all.text("phase", status.phase.name());
    all.text("phase_text", &status.phase.to_string());
    all.truth("ready", status.phase == Phase::Serving);
    if let Some(progress) = status.phase.extent() {
        let mut part = Object::default();
        part.number("done_bytes", progress.done);
        part.number("of_bytes", progress.of);
        part.number("percent", progress.percent());
        all.object("progress", part);
    }
    all.number("uptime_seconds", status.begun.elapsed().as_secs());
    if let Some((listening, advertised)) = &status.addresses {
        all.text("listening", &listening.to_string());
        all.text("advertised", &advertised.to_string());
    }
    if let Some(view) = view {
        all.number("topics", view.topics as u64);
        all.number("partitions", view.partitions as u64);
        all.number("objects", view.objects as u64);
    }
    all.number("connections", connections(monitor));
    all.object("wal", wal_json(monitor));
    if let Some(view) = view {
        all.object("cache", cache_json(view));
        all.object("reads", reads::json(&view.reads));
        if let Some(view) = &view.groups {
            all.object("groups", groups::json(view));
        }
    }
    let mut uploads = Object::default();
    uploads.number("waiting", monitor.metrics.uploads.waiting.get());
    uploads.number("waiting_bytes", monitor.metrics.uploads.waiting_bytes.get());
    uploads.number("committed", monitor.metrics.uploads.committed.get());
    all.object("uploads", uploads);
    all.object("object_store", store_json(monitor));
    all.end() + "\n"
}

fn wal_json(monitor: &Monitor) -> Object {
    let metrics = &monitor.metrics.wal;
    let mut wal = Object::default();
    wal.number("length_bytes", metrics.length.get());
    wal.number("used_bytes", metrics.used.get());
    wal.number("in_flight_bytes", metrics.in_flight.get());
    wal.number("objects", metrics.objects.get());
    wal.number("failures", metrics.failures.get());
    wal
}

fn cache_json(view: &ShardView) -> Object {
    let mut cache = Object::default();
    cache.number("uncut_bytes", view.cache.uncut);
    cache.number("uploading_bytes", view.cache.uploading);
    cache.number("uploaded_bytes", view.cache.evictable);
    cache
}

fn store_json(monitor: &Monitor) -> Object {
    let store = &monitor.metrics.store;
    let (requests, failures) = store.totals();
    let mut all = Object::default();
    all.number("requests", requests);
    all.number("failures", failures);
    if let Some(latest) = store.latest_failure() {
        let mut failure = Object::default();
        failure.number("seconds_ago", latest.at.elapsed().as_secs());
        failure.text("asker", latest.asker.name());
        failure.text("operation", latest.operation.name());
        failure.text("error", &latest.error.to_string());
        all.object("latest_failure", failure);
    }
    all
}

fn status_text(monitor: &Monitor, view: Option<&ShardView>) -> String {
    let Status { node, begun, phase, addresses, member } = monitor.status();
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    line("phase", phase.to_string());
    line("version", env!("CARGO_PKG_VERSION").into());
    line("node", node.0.to_string());
    if let Some((cluster, epoch)) = member {
        line("cluster", cluster.to_string());
        line("epoch", epoch.0.to_string());
    }
    if let Some((listening, advertised)) = addresses {
        line("listening", format!("{listening}, advertised as {advertised}"));
    }
    line("up", format!("{} s", begun.elapsed().as_secs()));
    line("connections", connections(monitor).to_string());
    if let Some(view) = view {
        line("topics", format!("{} with {} partitions", view.topics, view.partitions));
        if let Some(groups) = view.groups.as_ref().and_then(groups::line) {
            line("groups", groups);
        }
        let cache = view.cache;
        line(
            "cache",
            format!("{}, of which {} are not uploaded", mib(cache.total()), mib(cache.uncut + cache.uploading)),
        );
    }
    let (wal, uploads) = (&monitor.metrics.wal, &monitor.metrics.uploads);
    line("WAL", format!("{} used of {}", mib(wal.used.get()), mib(wal.length.get())));
    line(
        "uploads",
        format!(
            "{} waiting ({}), {} committed since the start",
            uploads.waiting.get(),
            mib(uploads.waiting_bytes.get()),
            uploads.committed.get()
        ),
    );
    let (requests, failures) = monitor.metrics.store.totals();
    line("object store", format!("{requests} requests, {failures} failed"));
    if let Some(latest) = monitor.metrics.store.latest_failure() {
        let ago = latest.at.elapsed().as_secs();
        line("last failure", format!("{ago} s ago, a {}: {}", latest.operation.name(), latest.error));
    }
    out
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}

fn metrics(monitor: &Monitor, view: Option<&ShardView>) -> String {
    let mut to = Text::default();
    process(&mut to, monitor);
    sockets(&mut to, monitor);
    records(&mut to, monitor);
    wal(&mut to, monitor);
    uploads(&mut to, monitor);
    compaction(&mut to, monitor);
    store(&mut to, monitor);
    if let Some(view) = view {
        shard(&mut to, view);
        if let Some(view) = &view.groups {
            groups::families(&mut to, view);
        }
    }
    to.end()
}

fn process(to: &mut Text, monitor: &Monitor) {
    let status = monitor.status();
    to.family("karst_build_info", Kind::Gauge, "Always 1; the version is in the label.");
    to.sample("karst_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    to.family("karst_phase", Kind::Gauge, "1 for the phase of its life in which the broker is, 0 for all others.");
    for name in Phase::ALL {
        to.sample("karst_phase", &[("phase", name)], u8::from(name == status.phase.name()));
    }
    let progress = status.phase.extent().unwrap_or_default();
    let help = "Bytes done of what the start is doing, such as a recovery; 0 if there is no such thing.";
    to.single("karst_progress_done_bytes", Kind::Gauge, help, progress.done);
    to.single("karst_progress_total_bytes", Kind::Gauge, "Bytes of that in all, at most.", progress.of);
    if let Some((_, epoch)) = status.member {
        to.single("karst_node_epoch", Kind::Gauge, "Registrations of this node so far.", epoch.0);
    }
    let begun = SystemTime::now().checked_sub(status.begun.elapsed()).unwrap_or(UNIX_EPOCH);
    let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    to.single("process_start_time_seconds", Kind::Gauge, "When the process began, since 1970.", begun);
    if let Some(used) = Usage::read() {
        let cpu = format!("{}.{:02}", used.cpu_centis / 100, used.cpu_centis % 100);
        to.single("process_cpu_seconds_total", Kind::Counter, "Processor time.", cpu);
        to.single("process_resident_memory_bytes", Kind::Gauge, "Memory in use.", used.resident);
        to.single("process_open_fds", Kind::Gauge, "Open files and sockets.", used.files);
        to.single("process_threads", Kind::Gauge, "Threads.", used.threads);
    }
}

/// What the operating system says about the process.
struct Usage {
    cpu_centis: u64,
    resident: u64,
    threads: u64,
    files: usize,
}

impl Usage {
    fn read() -> Option<Self> {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is a name in brackets, in which there may be anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_centis: (field(14)? + field(15)?) * 100 / ticks,
            threads: field(20)?,
            resident: field(24)? * rustix::param::page_size() as u64,
            files: std::fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}

fn sockets(to: &mut Text, monitor: &Monitor) {
    let io: Vec<&IoMetrics> = monitor.owners.get().map_or_else(Vec::new, |owners| owners.sessions.metrics().collect());
    let sum = |of: fn(&IoMetrics) -> u64| io.iter().map(|io| of(io)).sum::<u64>();
    to.single("karst_connections", Kind::Gauge, "Connections of clients.", connections(monitor));
    let help = "Connections of clients so far.";
    to.single("karst_connections_opened_total", Kind::Counter, help, sum(|io| io.opened.get()));
    let help = "Bytes from clients.";
    to.single("karst_network_received_bytes_total", Kind::Counter, help, sum(|io| io.received.get()));
    to.single("karst_network_sent_bytes_total", Kind::Counter, "Bytes to clients.", sum(|io| io.sent.get()));
    let name = "karst_request_duration_seconds";
    let help = "From when a request's turn had come until its answer had left, long polls included; a request without \
                an answer is done with it. The count is the number of requests.";
    to.family(name, Kind::Histogram, help);
    for api in Api::all() {
        let totals = Histogram::sum(io.iter().filter_map(|io| io.requests_of(api)));
        totals.write(to, name, &[("api", &format!("{api:?}"))]);
    }
}

fn records(to: &mut Text, monitor: &Monitor) {
    let records = &monitor.metrics.records;
    let help = "Record batches that became durable.";
    to.single("karst_produced_batches_total", Kind::Counter, help, records.batches.get());
    to.single("karst_produced_records_total", Kind::Counter, "Records that became durable.", records.records.get());
    let help = "Bytes of record batches that became durable.";
    to.single("karst_produced_bytes_total", Kind::Counter, help, records.bytes.get());
    let help = "Bytes of answers with records.";
    to.single("karst_fetched_bytes_total", Kind::Counter, help, records.fetched_bytes.get());
}

fn wal(to: &mut Text, monitor: &Monitor) {
    let wal = &monitor.metrics.wal;
    let help = "Length of the WAL's device, or what it may hold in the object store.";
    to.single("karst_wal_length_bytes", Kind::Gauge, help, wal.length.get());
    let help = "Bytes of the WAL that are not in the object store yet, or not trimmed.";
    to.single("karst_wal_used_bytes", Kind::Gauge, help, wal.used.get());
    let help = "Bytes that are being written to the WAL.";
    to.single("karst_wal_in_flight_bytes", Kind::Gauge, help, wal.in_flight.get());
    let help = "Objects of the WAL in the object store, where it is there.";
    to.single("karst_wal_objects", Kind::Gauge, help, wal.objects.get());
    let name = "karst_wal_write_duration_seconds";
    to.family(name, Kind::Histogram, "One write to the WAL's device, until it is durable.");
    Histogram::sum([&wal.writes].into_iter()).write(to, name, &[]);
    let help = "Bytes written to the WAL's device, padding included.";
    to.single("karst_wal_written_bytes_total", Kind::Counter, help, wal.written.get());
    to.single("karst_wal_reads_total", Kind::Counter, "Reads of the WAL's device, at a start.", wal.reads.get());
    let help = "Bytes read from the WAL's device.";
    to.single("karst_wal_read_bytes_total", Kind::Counter, help, wal.read.get());
    let help = "Operations on the WAL's device that failed: a write that fails ends the broker.";
    to.single("karst_wal_failures_total", Kind::Counter, help, wal.failures.get());
}

fn uploads(to: &mut Text, monitor: &Monitor) {
    let uploads = &monitor.metrics.uploads;
    let help = "Uploads that are not committed.";
    to.single("karst_uploads_waiting", Kind::Gauge, help, uploads.waiting.get());
    let help = "Bytes of records in uploads that are not committed.";
    to.single("karst_uploads_waiting_bytes", Kind::Gauge, help, uploads.waiting_bytes.get());
    to.single("karst_uploads_committed_total", Kind::Counter, "Uploads that were committed.", uploads.committed.get());
}

fn compaction(to: &mut Text, monitor: &Monitor) {
    let compaction = &monitor.metrics.compaction;
    let mut total = |name, help, value: &Gauge| to.single(name, Kind::Counter, help, value.get());
    total("karst_compactions_total", "Times that objects were rewritten into others.", &compaction.committed);
    let help = "Times that this failed or came to nothing; it is tried again.";
    total("karst_compactions_abandoned_total", help, &compaction.abandoned);
    total("karst_compaction_inputs_total", "Objects that others took the place of.", &compaction.inputs);
    total("karst_compaction_results_total", "Objects that took their place.", &compaction.results);
    total("karst_compaction_read_bytes_total", "Bytes read in order to rewrite them.", &compaction.read);
    total("karst_compaction_written_bytes_total", "Bytes written so.", &compaction.written);
    let help = "Bytes of records in memory that are being rewritten.";
    to.single("karst_compaction_held_bytes", Kind::Gauge, help, compaction.held.get());
}

fn store(to: &mut Text, monitor: &Monitor) {
    let store = &monitor.metrics.store;
    let name = "karst_store_requests_total";
    let help = "Requests to the object store that ended, by who asked, what was asked and how it ended. Success is ok; \
                exists, missing and conflict are answers, too.";
    to.family(name, Kind::Counter, help);
    for asker in Asker::ALL {
        for operation in Operation::ALL {
            for (at, outcome) in OUTCOMES.iter().enumerate() {
                let count = store.count(asker, operation, at);
                // All that there could be would be many lines of nothing.
                if count > 0 || at == 0 {
                    let labels = [("asker", asker.name()), ("operation", operation.name()), ("outcome", *outcome)];
                    to.sample(name, &labels, count);
                }
            }
        }
    }
    let name = "karst_store_request_duration_seconds";
    to.family(name, Kind::Histogram, "One request to the object store, until it ended.");
    for operation in Operation::ALL {
        for (class, histograms) in [("answered", &store.answered), ("failed", &store.failed)] {
            let totals = Histogram::sum([&histograms[operation as usize]].into_iter());
            totals.write(to, name, &[("operation", operation.name()), ("class", class)]);
        }
    }
    let help = "Bytes that the object store took.";
    to.single("karst_store_sent_bytes_total", Kind::Counter, help, store.sent.get());
    let help = "Bytes that the object store gave.";
    to.single("karst_store_received_bytes_total", Kind::Counter, help, store.received.get());
}

fn shard(to: &mut Text, view: &ShardView) {
    to.single("karst_topics", Kind::Gauge, "Topics of the cluster.", view.topics);
    to.single("karst_partitions", Kind::Gauge, "Partitions that this broker leads.", view.partitions);
    to.single("karst_objects", Kind::Gauge, "Objects with records that the metadata names.", view.objects);
    let name = "karst_cache_bytes";
    to.family(name, Kind::Gauge, "Records in memory: not in an upload yet, being uploaded, and uploaded.");
    for (state, bytes) in
        [("uncut", view.cache.uncut), ("uploading", view.cache.uploading), ("uploaded", view.cache.evictable)]
    {
        to.sample(name, &[("state", state)], bytes);
    }
    reads::expose(to, &view.reads);
    to.family("karst_credit_bytes", Kind::Gauge, "Memory that requests and answers may take, by pool.");
    view.credit.iter().for_each(|pool| to.sample("karst_credit_bytes", &[("pool", pool.name)], pool.total));
    to.family("karst_credit_free_bytes", Kind::Gauge, "What of it is free.");
    view.credit.iter().for_each(|pool| to.sample("karst_credit_free_bytes", &[("pool", pool.name)], pool.free));
    to.family("karst_credit_waiting", Kind::Gauge, "Requests and answers that wait for it.");
    view.credit.iter().for_each(|pool| to.sample("karst_credit_waiting", &[("pool", pool.name)], pool.waiting));
}

fn connections(monitor: &Monitor) -> u64 {
    monitor.owners.get().map_or(0, |owners| owners.sessions.connections() as u64)
}
