//! What a reader of a story has to know who has not read the code.

/// Owners and terms, each with a sentence.
pub(super) const GLOSSARY: &[(&str, &str)] = &[
    ("client", "A simulated user of the broker: it writes record batches to partitions, and reads them back."),
    ("broker", "The server under test. After each crash it is another process: broker-1, then broker-2."),
    ("session", "The broker's end of one connection."),
    ("shard", "Decides for all partitions: gives records their offsets, answers requests."),
    ("wal", "The log on the broker's disk. Once a batch is durable there, it may be acknowledged."),
    ("compactor", "Rewrites objects of the object store into fewer and larger ones."),
    ("uploader", "Copies what is in that log, a cut at a time, into objects of the object store."),
    ("controller", "Keeps the metadata log in the object store: which topics there are, which object holds what."),
    ("node", "Starts and stops the broker, and reads its log back after a crash."),
    ("store", "The object store, shared by everybody. It is slow, and fails now and then."),
    ("nemesis", "Does the broker harm, as the plan says."),
    ("oracle", "Hears what clients sent and saw, and finds what can't be."),
    ("offset", "A record's number in its partition: t1-2-0 is partition 0 of topic t1-2."),
    ("LSN", "A byte's number in the broker's log."),
    ("credit", "Memory that a connection has to ask for before it takes in a request."),
];
