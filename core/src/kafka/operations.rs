//! Which operations a client is told that it may do, where it asks (KIP-430): all that there are, since nothing is forbidden.
//!
//! An answer has a bit for each, by Kafka's numbers of operations.

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// Nobody asked.
pub(crate) const UNASKED: i32 = i32::MIN;

/// Those on the cluster: 8096.
pub(crate) const ON_CLUSTER: i32 =
    CREATE | ALTER | DESCRIBE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE;

/// Those on a topic: 3576.
pub(crate) const ON_TOPIC: i32 = READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// Those on a group: 328. Since groups may have configs (Kafka 3.8) there are two more, of which there are none here.
pub(crate) const ON_GROUP: i32 = READ | DELETE | DESCRIBE;

#[cfg(test)]
mod tests {
    use super::{ON_CLUSTER, ON_GROUP, ON_TOPIC};

    #[test]
    fn the_sums_are_those_that_kafka_answers() {
        assert_eq!((ON_CLUSTER, ON_TOPIC, ON_GROUP), (8096, 3576, 328));
    }
}
