//! How the numbers of a broker grow, for [recordings](crate::recording).
//!
//! | subject | curve | what it is |
//! |---------|-------|------------|
//! | `orders-3` | `appended` | the offset that the next batch gets |
//! | | `durable` | the high watermark |
//! | | `uploaded` | the end of what is committed, as the controller knows it |
//! | | `applied` | the same, as the shard's replica knows it: from there on fetches need the log cache |
//! | | `trimmed` | the log start |
//! | `broker-1/wal` | `head`, `durable`, `trim` | positions in the log of this process |
//! | `metadata` | `controller`, `node`, `shard` | the last entry that each replica has |

use super::Broker;
use crate::exec::World;
use crate::recording::Tag;
use karst_core::controller::Controller;
use karst_core::id::{NodeId, Seq};
use karst_core::metadata::Image;
use karst_core::node::Node;
use karst_core::shard::Shard;
use karst_core::wal::Wal;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Looks at a broker after each event.
struct Probe {
    name: String,
    node_id: NodeId,
    shard: Rc<RefCell<Shard>>,
    wal: Rc<RefCell<Wal>>,
    controller: Rc<RefCell<Controller>>,
    node: Rc<RefCell<Node>>,
    /// What was named already.
    named: Cell<Seq>,
}

/// Takes samples of this broker as long as it lives.
pub(super) fn watch(broker: &Broker, node_id: NodeId) {
    let process = broker.process.clone();
    let world = process.world().clone();
    if !world.is_recording() {
        return;
    }
    world.band(process.name(), "up", Some("up".into()));
    let probe = Probe {
        name: process.name().to_owned(),
        node_id,
        shard: broker.shard.clone(),
        wal: broker.wal.clone(),
        controller: broker.controller.clone(),
        node: broker.node.clone(),
        named: Cell::new(Seq(0)),
    };
    world.probe(move |world| {
        if process.is_alive() {
            probe.look(world);
        }
    });
}

impl Probe {
    fn look(&self, world: &World) {
        let (shard, controller, node) = (self.shard.borrow(), self.controller.borrow(), self.node.borrow());
        self.look_at_wal(world);
        let images = [("controller", controller.image()), ("node", node.image()), ("shard", shard.image())];
        for (curve, image) in images {
            if let Some(image) = image {
                world.sample("metadata", curve, image.seq.0);
            }
        }
        let term = controller.term().map(|term| format!("term {}", term.0));
        world.band(&self.name, "term", term);
        let epoch = node.image().and_then(|image| image.nodes.get(&self.node_id)).map(|node| node.epoch);
        world.band(&self.name, "epoch", epoch.map(|epoch| format!("node epoch {}", epoch.0)));
        if let Some(image) = controller.image() {
            self.name_partitions(world, image);
            look_at_partitions(world, image, &shard);
        }
    }

    fn look_at_wal(&self, world: &World) {
        if let Some(positions) = self.wal.borrow().positions() {
            let subject = format!("{}/wal", self.name);
            world.sample(&subject, "head", positions.head.0);
            world.sample(&subject, "durable", positions.durable.0);
            world.sample(&subject, "trim", positions.trim.0);
        }
    }

    fn name_partitions(&self, world: &World, image: &Image) {
        if self.named.replace(image.seq) == image.seq {
            return;
        }
        for (id, topic) in &image.topics {
            let name = topic.name.as_str();
            world.alias(Tag::name("topic-id", id.to_string()), Tag::name("topic", name));
            world.alias(Tag::name("deleted-topic-id", id.to_string()), Tag::name("deleted-topic", name));
            for (index, partition) in topic.partitions.iter().enumerate() {
                let place = Tag::name("partition", format!("{name}-{index}"));
                world.alias(Tag::number("stream", partition.stream.0), place.clone());
                world.alias(Tag::name("partition-id", format!("{id}-{index}")), place);
            }
        }
    }
}

fn look_at_partitions(world: &World, image: &Image, shard: &Shard) {
    for topic in image.topics.values() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let Some(stream) = image.streams.get(&partition.stream) else { continue };
            let subject = format!("{}-{index}", topic.name.as_str());
            world.sample(&subject, "uploaded", stream.end.0);
            world.sample(&subject, "trimmed", stream.start.0);
            let of_shard = [
                ("appended", shard.appended(partition.stream)),
                ("durable", shard.high_watermark(partition.stream)),
                ("applied", shard.image().and_then(|image| image.streams.get(&partition.stream)).map(|one| one.end)),
            ];
            for (curve, offset) in of_shard {
                if let Some(offset) = offset {
                    world.sample(&subject, curve, offset.0);
                }
            }
        }
    }
}
