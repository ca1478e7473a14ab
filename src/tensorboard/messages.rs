//! The messages of an event file, as far as they are written: `event.proto`, `summary.proto` and `histogram.proto` of TensorFlow, with
//! their numbers of fields.

use prost::{Message, Oneof};

/// `Event`: what happened at a time.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    /// Steps done.
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub(super) what: Option<What>,
}

/// What an event says.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum What {
    /// The first event of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// `SessionLog`: a run begins, again.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl SessionLog {
    /// What other files say of this step and later ones no longer holds.
    pub(super) const START: i32 = 1;
}

/// `Summary`: values by their tags.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<summary::Value>,
}

/// `HistogramProto`: `bucket[i]` numbers are above `bucket_limit[i − 1]` and up to `bucket_limit[i]`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(double, tag = "1")]
    pub(super) min: f64,
    #[prost(double, tag = "2")]
    pub(super) max: f64,
    #[prost(double, tag = "3")]
    pub(super) num: f64,
    #[prost(double, tag = "4")]
    pub(super) sum: f64,
    #[prost(double, tag = "5")]
    pub(super) sum_squares: f64,
    #[prost(double, repeated, tag = "6")]
    pub(super) bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub(super) bucket: Vec<f64>,
}

/// The messages within `Summary`.
pub(super) mod summary {
    use super::{Histogram, Message, Oneof};

    /// A value and its tag. Tags with the same beginning before a `/` are shown side by side.
    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Value {
        #[prost(string, tag = "1")]
        pub(in super::super) tag: String,
        #[prost(oneof = "Of", tags = "2, 4, 5")]
        pub(in super::super) of: Option<Of>,
        #[prost(message, optional, tag = "9")]
        pub(in super::super) metadata: Option<Metadata>,
    }

    /// The value itself.
    #[derive(Clone, PartialEq, Oneof)]
    pub(in super::super) enum Of {
        #[prost(float, tag = "2")]
        SimpleValue(f32),
        #[prost(message, tag = "4")]
        Image(Image),
        #[prost(message, tag = "5")]
        Histo(Histogram),
    }

    /// `Summary.Image`: a PNG file.
    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Image {
        #[prost(int32, tag = "1")]
        pub(in super::super) height: i32,
        #[prost(int32, tag = "2")]
        pub(in super::super) width: i32,
        /// 3: red, green and blue.
        #[prost(int32, tag = "3")]
        pub(in super::super) colorspace: i32,
        #[prost(bytes = "vec", tag = "4")]
        pub(in super::super) encoded_image_string: Vec<u8>,
    }

    /// `SummaryMetadata`: which plugin the value is for.
    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct Metadata {
        #[prost(message, optional, tag = "1")]
        pub(in super::super) plugin_data: Option<PluginData>,
    }

    /// `SummaryMetadata.PluginData`
    #[derive(Clone, PartialEq, Message)]
    pub(in super::super) struct PluginData {
        #[prost(string, tag = "1")]
        pub(in super::super) plugin_name: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(in super::super) content: Vec<u8>,
    }
}
