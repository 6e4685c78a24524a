//! What clients ask for.

use crate::recording::{About, Describe};
use bytes::Bytes;
use karst_core::kafka::request::{self, Ask};
use karst_core::kafka::{BatchHeader, Produce, Request, RequestBody};

/// Adds what a request's frame, its length in front, is about; nothing if it is no request.
pub fn frame(frame: &Bytes, about: &mut About) {
    let Some((_, frame)) = frame.split_at_checked(4) else { return };
    let Ok((header, ask)) = request::decode(Bytes::copy_from_slice(frame)) else { return };
    about.number("correlation", u64::from(header.correlation.0.unsigned_abs()));
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
        about.range("offset", base.0, end.0).name("batch", crc(&header));
        let size = 12 + usize::try_from(header.length).unwrap_or(usize::MAX - 12);
        rest = rest.get(size..).unwrap_or_default();
    }
}

/// Names a batch before it has an offset, and after.
pub(super) fn crc(header: &BatchHeader) -> String {
    format!("{:08x}", header.crc)
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
            _ => {}
        }
    }
}

impl Describe for Produce {
    fn describe(&self, about: &mut About) {
        for topic in &self.topics {
            for partition in &topic.partitions {
                place(topic.name.as_ref().map_or("", |name| name.as_str()), &topic.id.0, partition.index, about);
                if let Ok(batch) = &partition.records {
                    about.name("batch", crc(&batch.header));
                }
            }
        }
    }
}

/// A partition by its topic's name, or by its id if there is none.
fn place(name: &str, id: &[u8; 16], partition: i32, about: &mut About) {
    if name.is_empty() {
        let id = karst_core::id::TopicId(*id);
        about.name("partition-id", format!("{id}-{partition}"));
    } else {
        about.name("partition", format!("{name}-{partition}"));
    }
}
