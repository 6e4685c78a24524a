//! What clients ask for.

use super::admin;
use super::batch_name;
use super::groups;
use super::phrases::{count, list};
use crate::recording::words::name_of;
use crate::recording::{About, Describe, Tag};
use bytes::Bytes;
use karst_core::id::{ConnId, TopicId};
use karst_core::kafka::request::{self, Ask};
use karst_core::kafka::{BatchHeader, Produce, Request, RequestBody};
use karst_core::session::Numbered;

/// Adds what a request's frame, its length in front, is about; nothing if it is no request.
pub fn frame(frame: &Bytes, about: &mut About) {
    let Some((_, frame)) = frame.split_at_checked(4) else { return };
    let Ok((header, ask)) = request::decode(Bytes::copy_from_slice(frame)) else { return };
    about.number("request", u64::from(header.correlation.0.unsigned_abs()));
    if let Ask::Handle(request) = ask {
        request.describe(about);
    }
}

/// Adds the offsets of each batch in stored records; the stream or partition that they are of precedes each.
pub fn batches(records: &[u8], mut of: impl FnMut(&mut About), about: &mut About) {
    let mut rest = records;
    while let Some(header) = BatchHeader::parse(rest) {
        let (Some(base), Some(end)) = (header.base(), header.end()) else { return };
        of(about);
        about.range("offset", base.0, end.0);
        if let Some(name) = batch_name(rest) {
            about.name("batch", name);
        }
        let size = 12 + usize::try_from(header.length).unwrap_or(usize::MAX - 12);
        rest = rest.get(size..).unwrap_or_default();
    }
}

impl Describe for Request {
    fn describe(&self, about: &mut About) {
        match &self.body {
            RequestBody::Produce(produce) => produce.describe(about),
            RequestBody::Fetch(fetch) => {
                for topic in &fetch.topics {
                    for partition in &topic.partitions {
                        place(topic.topic.as_str(), topic.topic_id.as_bytes(), partition.partition, about);
                        about.number("from", u64::try_from(partition.fetch_offset).unwrap_or(0));
                    }
                }
            }
            RequestBody::ListOffsets(list) => {
                for topic in &list.topics {
                    for partition in &topic.partitions {
                        place(topic.name.as_str(), &[0; 16], partition.partition_index, about);
                    }
                }
            }
            RequestBody::CreateTopics(create) => {
                for topic in &create.topics {
                    about.name("topic", topic.name.as_str());
                }
            }
            RequestBody::DeleteTopics(delete) => {
                for topic in delete.topics.iter().filter_map(|topic| topic.name.as_ref()).chain(&delete.topic_names) {
                    about.name("topic", topic.as_str());
                }
            }
            RequestBody::DeleteRecords(asked) => {
                for topic in &asked.topics {
                    for partition in &topic.partitions {
                        place(topic.name.as_str(), &[0; 16], partition.partition_index, about);
                    }
                }
            }
            RequestBody::CreatePartitions(asked) => {
                for topic in &asked.topics {
                    about.name("topic", topic.name.as_str());
                }
            }
            RequestBody::OffsetForLeaderEpoch(asked) => {
                for topic in &asked.topics {
                    for partition in &topic.partitions {
                        place(topic.topic.as_str(), &[0; 16], partition.partition, about);
                    }
                }
            }
            RequestBody::DescribeTopicPartitions(asked) => {
                for topic in &asked.topics {
                    about.name("topic", topic.name.as_str());
                }
            }
            RequestBody::DescribeConfigs(asked) => {
                let all = asked.resources.iter().map(|one| (one.resource_type, one.resource_name.as_str()));
                configured(all, about);
            }
            RequestBody::AlterConfigs(asked) => {
                let all = asked.resources.iter().map(|one| (one.resource_type, one.resource_name.as_str()));
                configured(all, about);
            }
            RequestBody::IncrementalAlterConfigs(asked) => {
                let all = asked.resources.iter().map(|one| (one.resource_type, one.resource_name.as_str()));
                configured(all, about);
            }
            RequestBody::Group(asked) => groups::groups(asked, about),
            RequestBody::Admin(asked) => admin::admin(asked, about),
            RequestBody::Metadata(_)
            | RequestBody::FindCoordinator(_)
            | RequestBody::InitProducerId(_)
            | RequestBody::DescribeCluster(_) => {}
        }
    }
}

impl Describe for Produce {
    fn describe(&self, about: &mut About) {
        for topic in &self.topics {
            for partition in &topic.partitions {
                place(topic.name.as_ref().map_or("", |name| name.as_str()), &topic.id.0, partition.index, about);
                if let Some(name) = partition.records.as_ref().ok().and_then(|batch| batch_name(&batch.bytes)) {
                    about.name("batch", name);
                }
            }
        }
    }
}

/// Kafka's number of topics among the resources that have configs.
const TOPIC: i8 = 2;

/// The topics among resources that have configs.
fn configured<'a>(resources: impl Iterator<Item = (i8, &'a str)>, about: &mut About) {
    for (_, name) in resources.filter(|(kind, _)| *kind == TOPIC) {
        about.name("topic", name);
    }
}

/// A partition by its topic's name, or by its id if there is none.
fn place(name: &str, id: &[u8; 16], partition: i32, about: &mut About) {
    if name.is_empty() {
        let id = TopicId(*id);
        about.name("partition-id", format!("{id}-{partition}"));
    } else {
        about.name("partition", format!("{name}-{partition}"));
    }
}

/// A request's frame, its length in front, as `its request 12, a Produce to orders-3`; its length if it is no request.
#[must_use]
pub fn frame_in_words(frame: &Bytes) -> String {
    let decoded = frame.split_at_checked(4).and_then(|(_, body)| request::decode(Bytes::copy_from_slice(body)).ok());
    match decoded {
        Some((header, Ask::Handle(request))) => {
            format!("its request {}, a {}", header.correlation.0, of_request(&request))
        }
        Some((header, Ask::Versions { .. })) => format!("its request {}, an ApiVersions", header.correlation.0),
        None => count(frame.len(), "byte"),
    }
}

/// A request by its connection and number.
pub(super) fn numbered(conn: ConnId, Numbered { request, .. }: &Numbered) -> String {
    format!("request {} of connection {conn} ({})", request_id(request), of_request(request))
}

/// The number that its client gave a request: the correlation id in its header, behind key and version.
pub(super) fn request_id(request: &Request) -> u64 {
    let id = request.frame.get(4..).and_then(|rest| rest.first_chunk::<4>());
    id.map_or(0, |id| i32::from_be_bytes(*id).unsigned_abs().into())
}

fn of_request(request: &Request) -> String {
    match &request.body {
        RequestBody::Produce(produce) => format!("Produce to {}", list(produced(produce))),
        RequestBody::Fetch(fetch) => {
            let all = fetch.topics.iter().flat_map(|topic| {
                let of = move |index| place_name(topic.topic.as_str(), topic.topic_id.as_bytes(), index);
                topic
                    .partitions
                    .iter()
                    .map(move |one| format!("{} from offset {}", of(one.partition), one.fetch_offset))
            });
            format!("Fetch of {}", list(all))
        }
        RequestBody::ListOffsets(asked) => {
            let all = asked.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|one| format!("{}-{}", topic.name.as_str(), one.partition_index))
            });
            format!("ListOffsets of {}", list(all))
        }
        RequestBody::Metadata(asked) => match &asked.topics {
            None => "Metadata of all topics".into(),
            Some(topics) => format!("Metadata of {}", count(topics.len(), "topic")),
        },
        RequestBody::FindCoordinator(_) => "FindCoordinator".into(),
        RequestBody::InitProducerId(_) => "InitProducerId".into(),
        RequestBody::DescribeCluster(_) => "DescribeCluster".into(),
        RequestBody::DescribeTopicPartitions(asked) => {
            format!("DescribeTopicPartitions of {}", list(asked.topics.iter().map(|topic| topic.name.to_string())))
        }
        RequestBody::OffsetForLeaderEpoch(asked) => {
            let all = asked.topics.iter().flat_map(|topic| {
                let of = |epoch, partition| format!("epoch {epoch} of {}-{partition}", topic.topic.as_str());
                topic.partitions.iter().map(move |one| of(one.leader_epoch, one.partition))
            });
            format!("OffsetForLeaderEpoch for {}", list(all))
        }
        RequestBody::CreateTopics(asked) => {
            format!("CreateTopics of {}", list(asked.topics.iter().map(|topic| topic.name.to_string())))
        }
        RequestBody::DeleteTopics(asked) => {
            let named = asked.topics.iter().filter_map(|topic| topic.name.as_ref()).chain(&asked.topic_names);
            format!("DeleteTopics of {}", list(named.map(|name| name.to_string())))
        }
        RequestBody::DeleteRecords(asked) => {
            let all = asked.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|one| match one.offset {
                    -1 => format!("all of {}-{}", topic.name.as_str(), one.partition_index),
                    offset => format!("{}-{} below offset {offset}", topic.name.as_str(), one.partition_index),
                })
            });
            format!("DeleteRecords of {}", list(all))
        }
        RequestBody::Group(asked) => groups::of_group_request(asked),
        RequestBody::Admin(asked) => admin::of_admin_request(asked),
        RequestBody::DescribeConfigs(asked) => {
            format!("DescribeConfigs of {}", list(asked.resources.iter().map(|one| one.resource_name.to_string())))
        }
        RequestBody::AlterConfigs(asked) => {
            format!("AlterConfigs of {}", list(asked.resources.iter().map(|one| one.resource_name.to_string())))
        }
        RequestBody::IncrementalAlterConfigs(asked) => {
            let names = asked.resources.iter().map(|one| one.resource_name.to_string());
            format!("IncrementalAlterConfigs of {}", list(names))
        }
        RequestBody::CreatePartitions(asked) => {
            let all = asked.topics.iter().map(|topic| format!("{} to have {}", topic.name.as_str(), topic.count));
            format!("CreatePartitions for {}", list(all))
        }
    }
}

fn produced(produce: &Produce) -> impl Iterator<Item = String> {
    produce.topics.iter().flat_map(|topic| {
        let name = topic.name.as_ref().map_or("", |name| name.as_str());
        topic.partitions.iter().map(move |one| place_name(name, &topic.id.0, one.index))
    })
}

fn place_name(name: &str, id: &[u8; 16], partition: i32) -> String {
    if name.is_empty() {
        return name_of(&Tag::name("partition-id", format!("{}-{partition}", TopicId(*id))));
    }
    format!("{name}-{partition}")
}
