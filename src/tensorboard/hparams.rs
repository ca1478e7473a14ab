//! Hyper-parameters for TensorBoard's table of runs: messages of its plugin `hparams` (`plugin_data.proto`, `api.proto`), with their
//! numbers of fields.

use std::collections::BTreeMap;

use prost::{Message, Oneof};
use serde_json::Value as Json;

use super::messages::summary::{Metadata, PluginData, Value};

/// The options of a run, and what is compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hyperparameters {
    /// The options by name: numbers, truths and texts.
    pub(crate) options: BTreeMap<String, Json>,
    /// The tags of scalars by which runs are compared.
    pub(crate) metrics: Vec<String>,
    /// What the run is called, the same for repetitions of it.
    pub(crate) group: String,
}

#[derive(Clone, PartialEq, Message)]
struct HParamsPluginData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(oneof = "Data", tags = "2, 3, 4")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Data {
    #[prost(message, tag = "2")]
    Experiment(Experiment),
    #[prost(message, tag = "3")]
    SessionStartInfo(SessionStartInfo),
    #[prost(message, tag = "4")]
    SessionEndInfo(SessionEndInfo),
}

#[derive(Clone, PartialEq, Message)]
struct Experiment {
    #[prost(double, tag = "3")]
    time_created_secs: f64,
    #[prost(message, repeated, tag = "4")]
    hparam_infos: Vec<HParamInfo>,
    #[prost(message, repeated, tag = "5")]
    metric_infos: Vec<MetricInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct HParamInfo {
    #[prost(string, tag = "1")]
    name: String,
    /// 1: text, 2: truth, 3: number.
    #[prost(int32, tag = "4")]
    data_type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct MetricInfo {
    #[prost(message, optional, tag = "1")]
    name: Option<MetricName>,
}

#[derive(Clone, PartialEq, Message)]
struct MetricName {
    #[prost(string, tag = "2")]
    tag: String,
}

#[derive(Clone, PartialEq, Message)]
struct SessionStartInfo {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, ProtoValue>,
    #[prost(string, tag = "4")]
    group_name: String,
    #[prost(double, tag = "5")]
    start_time_secs: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEndInfo {
    /// 1: success, 2: failure.
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time_secs: f64,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, Message)]
struct ProtoValue {
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Truth(bool),
}

impl Hyperparameters {
    /// The values at the beginning of a run, `now` in seconds since 1970.
    pub(super) fn beginning(&self, now: f64) -> Vec<Value> {
        let kinds: BTreeMap<String, Kind> =
            self.options.iter().filter_map(|(name, value)| Some((name.clone(), kind(value)?))).collect();
        let experiment = Experiment {
            time_created_secs: now,
            hparam_infos: kinds
                .iter()
                .map(|(name, kind)| HParamInfo {
                    name: name.clone(),
                    data_type: match kind {
                        Kind::Text(_) => 1,
                        Kind::Truth(_) => 2,
                        Kind::Number(_) => 3,
                    },
                })
                .collect(),
            metric_infos: self
                .metrics
                .iter()
                .map(|tag| MetricInfo { name: Some(MetricName { tag: tag.clone() }) })
                .collect(),
        };
        let start = SessionStartInfo {
            hparams: kinds.into_iter().map(|(name, kind)| (name, ProtoValue { kind: Some(kind) })).collect(),
            group_name: self.group.clone(),
            start_time_secs: now,
        };
        vec![
            value("_hparams_/experiment", Data::Experiment(experiment)),
            value("_hparams_/session_start_info", Data::SessionStartInfo(start)),
        ]
    }
}

/// The value at the end of a run.
pub(super) fn end(now: f64, success: bool) -> Value {
    let end = SessionEndInfo { status: if success { 1 } else { 2 }, end_time_secs: now };
    value("_hparams_/session_end_info", Data::SessionEndInfo(end))
}

fn value(tag: &str, data: Data) -> Value {
    let content = HParamsPluginData { version: 0, data: Some(data) }.encode_to_vec();
    let plugin_data = Some(PluginData { plugin_name: "hparams".to_owned(), content });
    Value { tag: tag.to_owned(), of: None, metadata: Some(Metadata { plugin_data }) }
}

/// A value of an option; lists become texts, and what is not set is left out.
fn kind(value: &Json) -> Option<Kind> {
    match value {
        Json::Null => None,
        Json::Bool(truth) => Some(Kind::Truth(*truth)),
        Json::Number(number) => number.as_f64().map(Kind::Number),
        Json::String(text) => Some(Kind::Text(text.clone())),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item.to_string().replace('"', "")).collect();
            Some(Kind::Text(items.join(",")))
        }
        Json::Object(_) => Some(Kind::Text(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_have_their_types() {
        let options = [("rate", json!(0.5)), ("hidden", json!([30, 10])), ("name", json!("relu"))]
            .into_iter()
            .chain([("on", json!(true)), ("off", Json::Null)])
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let hyperparameters =
            Hyperparameters { options, metrics: vec!["loss/test".into()], group: "g".into() };
        let values = hyperparameters.beginning(1.0);
        assert_eq!(values[0].tag, "_hparams_/experiment");
        let content = |value: &Value| {
            let data = value.metadata.clone().unwrap().plugin_data.unwrap();
            assert_eq!(data.plugin_name, "hparams");
            HParamsPluginData::decode(&data.content[..]).unwrap().data.unwrap()
        };
        let Data::Experiment(experiment) = content(&values[0]) else { panic!() };
        let types: Vec<(&str, i32)> =
            experiment.hparam_infos.iter().map(|info| (info.name.as_str(), info.data_type)).collect();
        assert_eq!(types, [("hidden", 1), ("name", 1), ("on", 2), ("rate", 3)]);
        let Data::SessionStartInfo(start) = content(&values[1]) else { panic!() };
        assert_eq!(start.hparams["hidden"].kind, Some(Kind::Text("30,10".into())));
        let Data::SessionEndInfo(ended) = content(&end(2.0, false)) else { panic!() };
        assert_eq!((ended.status, ended.end_time_secs), (2, 2.0));
    }
}
