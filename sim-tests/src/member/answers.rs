//! What a member makes of answers.

use super::requests::{STAMP, decode};
use super::{Asked, Member, Mode, Pending, Step};
use crate::client::{Effect, wire};
use crate::oracle::{Aside, GroupSeen, Landed, Observation, Reply};
use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsResponse, FindCoordinatorResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
    OffsetCommitResponse, OffsetFetchResponse, SyncGroupResponse,
};
use kafka_protocol::protocol::Decodable;
use karst_core::machine::{Effects, Now};
use std::time::Duration;

const LOADING: i16 = 14;
const UNAVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER: i16 = 25;
const REBALANCING: i16 = 27;
const ID_REQUIRED: i16 = 79;
const FENCED: i16 = 82;

impl Member {
    pub(super) fn handle_received(&mut self, now: Now, bytes: &[u8], out: &mut Effects<Effect>) {
        self.received.extend_from_slice(bytes);
        while let Some(frame) = wire::next_frame(&mut self.received) {
            if let Err(why) = self.handle_answer(now, frame, out) {
                out.push(Effect::Observe(Observation::Broken(why)));
            }
        }
        self.go_on(now, out);
    }

    fn handle_answer(&mut self, now: Now, mut frame: Bytes, out: &mut Effects<Effect>) -> Result<(), String> {
        let Pending { correlation, version, asked, sent_at } = self.pending.take().ok_or("an answer to no request")?;
        let waited = now.mono.since(sent_at);
        let answered = wire::response_header(api_of(&asked), version, &mut frame)?;
        if answered != correlation {
            return Err(format!("the answer to {answered} came where that to {correlation} was due"));
        }
        let reply = Reply { request: correlation.unsigned_abs().into(), version, body: frame.clone() };
        out.push(Effect::Observe(Observation::Answered(asked.kind(), Aside(reply))));
        match asked {
            Asked::Create => self.created(now, &body(frame, version)?, out),
            Asked::Find => self.found(now, &body(frame, version)?),
            Asked::Join { floor } => self.joined((now, waited), body(frame, version)?, floor, out),
            Asked::Sync => self.synced(now, &body(frame, version)?, out),
            Asked::Heartbeat => {
                let response: HeartbeatResponse = body(frame, version)?;
                self.beats += u64::from(response.error_code == 0);
                if response.error_code == 0 && self.is_loaded {
                    self.see(GroupSeen::Lives(waited), out);
                }
                self.follow(now, "heartbeat", response.error_code)
            }
            Asked::Commit(id, partition) => {
                let response: OffsetCommitResponse = body(frame, version)?;
                let line = response.topics.first().and_then(|topic| topic.partitions.first());
                let code = line.ok_or("an empty answer to offset-commit")?.error_code;
                self.is_loaded |= code == 0;
                let landed = match code {
                    0 => Landed::Acked,
                    UNAVAILABLE => Landed::Unknown,
                    _ => Landed::Refused,
                };
                self.see(GroupSeen::Committed(id, partition, landed), out);
                if code == 3 { Ok(()) } else { self.follow(now, "offset-commit", code) }
            }
            Asked::Offsets(question) => self.offsets(now, body(frame, version)?, question, out),
            Asked::Leave => {
                let response: LeaveGroupResponse = body(frame, version)?;
                if response.error_code == 0 {
                    self.forget();
                }
                self.follow(now, "leave-group", response.error_code)
            }
        }
    }

    /// What an error of a coordinator makes it do.
    fn follow(&mut self, now: Now, api: &str, code: i16) -> Result<(), String> {
        match code {
            0 => {}
            LOADING | UNAVAILABLE | NOT_COORDINATOR => {
                let pause = self.rng.between(2_000, 30_000);
                self.patience = self.patience.max(now.mono.after(Duration::from_micros(pause)));
                if matches!(self.step, Step::Sync(_)) {
                    // It does not know what is its own in the generation that it has joined: it joins again.
                    self.generation = 0;
                }
                if self.step != Step::Steady && self.step != Step::FetchOffsets {
                    self.step = Step::Find;
                }
            }
            REBALANCING | ILLEGAL_GENERATION => self.step = Step::Join,
            UNKNOWN_MEMBER | FENCED => {
                self.forget();
                self.step = Step::Join;
            }
            other => return Err(format!("{api} was answered with error {other}")),
        }
        Ok(())
    }

    fn created(&mut self, now: Now, response: &CreateTopicsResponse, out: &mut Effects<Effect>) -> Result<(), String> {
        let code = response.topics.first().ok_or("an empty answer to create-topics")?.error_code;
        match code {
            0 => {
                self.is_topic_there = true;
                out.push(Effect::Observe(Observation::Created(self.me.topic.clone())));
            }
            36 => self.is_topic_there = true,
            7 | 41 => self.patience = now.mono.after(Duration::from_millis(20)),
            other => return Err(format!("create-topics was answered with error {other}")),
        }
        Ok(())
    }

    fn found(&mut self, now: Now, response: &FindCoordinatorResponse) -> Result<(), String> {
        let code = response.coordinators.first().map_or(response.error_code, |found| found.error_code);
        self.step = if self.generation > 0 && !self.id.is_empty() { Step::FetchOffsets } else { Step::Join };
        if code != 0 {
            self.step = Step::Find;
        }
        self.follow(now, "find-coordinator", code)
    }

    fn joined(
        &mut self,
        (now, waited): (Now, Duration),
        response: JoinGroupResponse,
        floor: i32,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        match response.error_code {
            0 => {}
            ID_REQUIRED => {
                self.id = response.member_id.to_string();
                return Ok(());
            }
            code => return self.follow(now, "join-group", code),
        }
        if self.mode == Mode::Work && self.generation > 0 && self.rng.child("deaf").chance(1, 6) {
            // The answer never came: it goes on in the generation that it knows, while the others are in the next.
            self.is_behind = true;
            self.hang_up(now, out);
            return Ok(());
        }
        self.id = response.member_id.to_string();
        self.generation = response.generation_id;
        self.owned.clear();
        let members: Vec<String> = response.members.iter().map(|member| member.member_id.to_string()).collect();
        let leads = !members.is_empty();
        if leads != (response.leader == response.member_id) && self.me.instance.is_none() {
            return Err("who leads hears of all members, and nobody else".into());
        }
        let identity = self.identity();
        let generation = self.generation;
        let leader = super::identity_of(&response.leader);
        self.see(GroupSeen::Joined { asker: self.me.id, who: identity, generation, leader, floor }, out);
        self.is_loaded = true;
        self.see(GroupSeen::Lives(waited), out);
        self.step = Step::Sync(if response.skip_assignment { Vec::new() } else { members });
        Ok(())
    }

    fn synced(&mut self, now: Now, response: &SyncGroupResponse, out: &mut Effects<Effect>) -> Result<(), String> {
        if response.error_code != 0 {
            return self.follow(now, "sync-group", response.error_code);
        }
        self.owned = decode(&response.assignment)?;
        let (who, generation, owned) = (self.identity(), self.generation, self.owned.clone());
        self.see(GroupSeen::Assigned { who, generation, owned }, out);
        self.step = Step::FetchOffsets;
        Ok(())
    }

    fn offsets(
        &mut self,
        now: Now,
        response: OffsetFetchResponse,
        question: u64,
        out: &mut Effects<Effect>,
    ) -> Result<(), String> {
        let mut code = response.error_code;
        let mut found: Vec<(i32, i64)> = Vec::new();
        for topic in &response.topics {
            for line in &topic.partitions {
                found.push((line.partition_index, line.committed_offset));
                code = code.max(line.error_code);
            }
        }
        for group in &response.groups {
            code = code.max(group.error_code);
            let lines = group.topics.iter().filter(|topic| topic.name.as_str() == self.me.topic);
            let lines = lines.flat_map(|topic| &topic.partitions);
            found.extend(lines.map(|line| (line.partition_index, line.committed_offset)));
        }
        if code != 0 {
            self.see(GroupSeen::Offsets(question, Vec::new()), out);
            return self.follow(now, "offset-fetch", code);
        }
        // Where nothing was committed, an answer about all partitions says nothing.
        let missing = self.owned.iter().filter(|owned| found.iter().all(|(partition, _)| partition != *owned));
        let missing: Vec<(i32, i64)> = missing.map(|partition| (*partition, -1)).collect();
        found.extend(missing);
        for (partition, offset) in &found {
            let known = self.positions.entry(*partition).or_insert(0);
            *known = (*known).max(*offset).max(0);
        }
        let is_stamped = |(_, offset): &&(i32, i64)| *offset == -1 || *offset >= STAMP;
        if let Some((partition, offset)) = found.iter().find(|line| !is_stamped(line)) {
            return Err(format!("offset {offset} of partition {partition} was never committed"));
        }
        self.is_loaded = true;
        self.see(GroupSeen::Offsets(question, found), out);
        self.step = Step::Steady;
        if self.settles() {
            self.patience = now.mono;
        }
        Ok(())
    }
}

fn api_of(asked: &Asked) -> ApiKey {
    match asked {
        Asked::Create => ApiKey::CreateTopics,
        Asked::Find => ApiKey::FindCoordinator,
        Asked::Join { .. } => ApiKey::JoinGroup,
        Asked::Sync => ApiKey::SyncGroup,
        Asked::Heartbeat => ApiKey::Heartbeat,
        Asked::Commit(..) => ApiKey::OffsetCommit,
        Asked::Offsets(_) => ApiKey::OffsetFetch,
        Asked::Leave => ApiKey::LeaveGroup,
    }
}

fn body<T: Decodable>(mut frame: Bytes, version: i16) -> Result<T, String> {
    let decoded = T::decode(&mut frame, version).map_err(|error| error.to_string())?;
    if frame.is_empty() { Ok(decoded) } else { Err(format!("{} bytes follow the answer", frame.len())) }
}
