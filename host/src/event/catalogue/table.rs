//! The one table of what can happen, from which come the Rust types, the JSON Schemas, the page `events.md` and
//! `busway event types`.
//!
//! The first part is the catalogue of ION's event notification service (ioncore-python `events.py`, `event.proto`): ids,
//! messages, enumerations and the meaning of each origin are its own. What it calls a link to another object is a text
//! here: the object's name or id. The second part is what a host has to tell of itself.

use super::field::{Field, Kind};
use super::{EventType, Owner, PREFIX, Role};
use serde::{Deserialize, Serialize};

/// A message of the catalogue: what an event says, besides what all say. Fields may be left out, as in the predecessor's.
pub trait Message: Serialize + for<'de> Deserialize<'de> {
    /// The predecessor's number of it; none for what it did not have.
    const NUMBER: Option<u32>;
    /// Its fields.
    fn fields() -> Vec<Field>;
}

/// A type of the catalogue that can be published.
pub trait Typed {
    /// What it says.
    type Data: Message;
    /// Its name: the CloudEvents `type`.
    const NAME: &'static str;
}

macro_rules! rust_type {
    (text) => { String };
    (link) => { String };
    (integer) => { i64 };
    (number) => { f64 };
    (texts) => { Vec<String> };
    (one_of $name:ident) => { $name };
}

macro_rules! kind {
    (text) => {
        Kind::Text
    };
    (link) => {
        Kind::Text
    };
    (integer) => {
        Kind::Integer
    };
    (number) => {
        Kind::Number
    };
    (texts) => {
        Kind::Texts
    };
    (one_of $name:ident) => {
        Kind::OneOf($name::NAMES.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect())
    };
}

macro_rules! number {
    () => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! role {
    (base) => {
        Role::Base
    };
    (raw) => {
        Role::Raw
    };
    (event) => {
        Role::Event
    };
}

macro_rules! messages {
    ($($(#[doc = $about:literal])* $message:ident $(= $number:literal)? {
        $($(#[doc = $said:literal])* $field:ident: $kind:ident $($of:ident { $($(#[doc = $meant:literal])* $value:ident = $code:literal),* $(,)? })?),* $(,)?
    })*) => {
        $(
            $(#[doc = $about])*
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $message {
                $($(#[doc = $said])* #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<rust_type!($kind $($of)?)>,)*
            }

            impl Message for $message {
                const NUMBER: Option<u32> = number!($($number)?);
                fn fields() -> Vec<Field> {
                    vec![$(Field::new(stringify!($field), kind!($kind $($of)?), concat!($($said),*)),)*]
                }
            }

            $($(
                #[doc = concat!("What `", stringify!($field), "` may be.")]
                #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
                #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the predecessor's own names")]
                pub enum $of { $(#[doc = concat!("Number ", stringify!($code), ".")] $(#[doc = $meant])* $value = $code),* }

                impl $of {
                    const NAMES: &'static [(&'static str, i64)] = &[$((stringify!($value), $code)),*];
                }
            )?)*
        )*
    };
}

macro_rules! types {
    ($($(#[doc = $about:literal])* $role:ident $name:ident $(($id:literal))? : $base:ident $(says $message:ident)? $(of $origin:literal)?;)*) => {
        $(types!(@typed $role $name $($message)? $(#[doc = $about])*);)*

        /// All types, each after its base.
        pub(super) fn types() -> Vec<EventType> {
            vec![$(EventType {
                name: concat!("busway.", stringify!($name)).into(),
                id: number!($($id)?),
                base: base_of(stringify!($base)),
                message: types!(@number $($message)?),
                role: role!($role),
                fields: types!(@fields $($message)?),
                origin: types!(@origin $($origin)?).to_owned(),
                about: concat!($($about),*).trim().to_owned(),
                owner: Owner::Host,
            },)*]
        }
    };
    (@typed event $name:ident $message:ident $(#[doc = $about:literal])*) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;

        impl Typed for $name {
            type Data = $message;
            const NAME: &'static str = concat!("busway.", stringify!($name));
        }
    };
    (@typed $role:ident $name:ident $($message:ident)? $(#[doc = $about:literal])*) => {};
    (@number) => { None };
    (@number $message:ident) => { <$message as Message>::NUMBER };
    (@fields) => { Vec::new() };
    (@fields $message:ident) => { <$message as Message>::fields() };
    (@origin) => { "" };
    (@origin $origin:literal) => { $origin };
}

/// The first of all has itself as its base.
fn base_of(base: &str) -> Option<std::sync::Arc<str>> {
    (base != "Nothing").then(|| format!("{PREFIX}{base}").into())
}

messages! {
    /// Where a resource is in its life.
    ResourceLifecycle = 2323 {
        /// Where it is in its life now.
        state: one_of ResourceState { NEW = 1, READY = 2, ACTIVE = 3, TERMINATED = 4, ERROR = 5 },
    }
    /// What set something off.
    Trigger = 2324 {
        /// The task whose turn it was.
        task_id: text,
        /// What it is to work on.
        payload: link,
    }
    /// A resource is other than it was.
    ResourceModified = 2325 {
        /// Which one.
        resource: link,
    }
    /// A log record: its text is the description, its source the name.
    Logging = 2326 {}
    /// Somebody follows something from now on.
    NewSubscription = 2327 {
        /// What is done for it.
        dispatcher_workflow: link,
    }
    /// Somebody follows something no more.
    DelSubscription = 2328 {
        /// What was done for it.
        dispatcher_workflow: link,
    }
    /// There is new data.
    DataBlock = 2329 {
        /// The dataset that it is of.
        dataset_id: text,
        /// The datasource that it is from.
        datasource_id: text,
        /// The data itself.
        data_block: text,
    }
    /// A datasource can't be read.
    DatasourceUnavailable = 2330 {
        /// Which one.
        datasource_id: text,
        /// The dataset that is not up to date for that.
        dataset_id: text,
        /// What it is called.
        title: text,
        /// Where it is.
        url: text,
        /// Why it can't be read.
        error_explanation: text,
    }
    /// A dataset got more.
    DatasetSupplementAdded = 2331 {
        /// The datasource that it is from.
        datasource_id: text,
        /// Which dataset.
        dataset_id: text,
        /// What it is called.
        title: text,
        /// Where it is.
        url: text,
        /// When the new part begins, in milliseconds since 1970.
        start_datetime_millis: integer,
        /// When the new part ends, in milliseconds since 1970.
        end_datetime_millis: integer,
        /// Its steps in time.
        number_of_timesteps: integer,
    }
    /// An application began or ended.
    AppLoader = 2332 {
        /// Which one.
        app_name: text,
        /// What it did.
        state: one_of AppState { STARTED = 1, STOPPED = 2 },
    }
    /// A container has started all that it starts with.
    ContainerStartup = 2333 {
        /// What it started.
        startup_names: texts,
    }
    /// What is known of a dataset is out of date.
    DatasetChange = 2341 {
        /// Which one.
        dataset_id: text,
    }
    /// What is known of a datasource is out of date.
    DatasourceChange = 2342 {
        /// Which one.
        datasource_id: text,
    }
    /// A sign of life: who waits for the ingestion's end goes on waiting.
    IngestionProcessing = 2343 {
        /// The dataset.
        dataset_id: text,
        /// Who works on it.
        ingestion_process_id: text,
        /// The conversation in which it does.
        conv_id: text,
        /// How far it is: `dataset`, `chunk` or `done`.
        processing_step: text,
    }
    /// What an instrument measured.
    InstrumentSample = 4303 {
        /// Conductivity.
        conductivity: number,
        /// Pressure.
        pressure: number,
        /// Temperature.
        temperature: number,
        /// Velocity of sound.
        sound_velocity: number,
        /// Salinity.
        salinity: number,
        /// The time of day.
        time: text,
        /// The day.
        date: text,
    }
    /// What became of a plugin's bytes.
    PluginLifecycle {
        /// How far they came.
        state: one_of PluginState {
            STAGED = 1, VETTED = 2, REFUSED = 3, LOADED = 4, SWITCHED = 5, ROLLED_BACK = 6, QUARANTINED = 7, RELEASED = 8,
            HELD_BACK = 9, RETIRED = 10,
        },
        /// The driver's id.
        driver: text,
        /// Its version.
        version: text,
        /// The file.
        file: text,
        /// The SHA-256 of the bytes.
        sha256: text,
        /// The generation made of them.
        generation: integer,
        /// Why, when it is no good news.
        reason: text,
    }
    /// A table has other columns, or another key.
    SchemaChanged {
        /// The service that publishes it.
        service: text,
        /// The table.
        table: text,
        /// The epoch that begins.
        epoch: integer,
        /// Its columns now.
        columns: texts,
    }
}

types! {
    /// What every type goes back to.
    base Event: Nothing;
    /// A resource came, went, or is in another place in its life.
    event ResourceLifecycleEvent(1001): Event says ResourceLifecycle of "the resource's id";
    /// A container, which is a host, came or went.
    event ContainerLifecycleEvent(1051): ResourceLifecycleEvent says ResourceLifecycle of "the container's name";
    /// A process came or went.
    event ProcessLifecycleEvent(1052): ResourceLifecycleEvent says ResourceLifecycle of "the process' name on the bus";
    /// A datasource was made, or removed.
    event DatasourceLifecycleEvent: ResourceLifecycleEvent says ResourceLifecycle of "the datasource's name";
    /// What the installation itself does.
    base InfrastructureEvent: Event;
    /// An application began or ended.
    event AppLoaderEvent(1075): InfrastructureEvent says AppLoader of "the application's name";
    /// A container has started all that it starts with.
    event ContainerStartupEvent(1076): InfrastructureEvent says ContainerStartup of "the container's name";
    /// A plugin's bytes were let in, taken into service, refused or taken back.
    event PluginLifecycleEvent: InfrastructureEvent says PluginLifecycle of "the driver's id, or the file's name while it is not known";
    /// It is time to do something.
    base TriggerEvent: Event says Trigger;
    /// A datasource has news.
    event DatasourceUpdateEvent(1101): TriggerEvent says Trigger of "the datasource's id or name";
    /// A time that somebody asked for has come.
    event ScheduleEvent(2001): TriggerEvent says Trigger of "what the task asked for: 1001 is an ingestion's update, 1002 a synchronization of files";
    /// A resource is other than it was.
    base ResourceModifiedEvent: Event says ResourceModified;
    /// A datasource can't be read.
    event DatasourceUnavailableEvent(1102): ResourceModifiedEvent says DatasourceUnavailable of "the datasource's id or name";
    /// A dataset got more.
    event DatasetSupplementAddedEvent(1111): ResourceModifiedEvent says DatasetSupplementAdded of "the dataset's id";
    /// A process' affairs are other than they were.
    event BusinessStateModificationEvent(1112): ResourceModifiedEvent says ResourceModified of "the process' name on the bus";
    /// What is known of a dataset is out of date.
    event DatasetChangeEvent(1113): ResourceModifiedEvent says DatasetChange of "the dataset's id";
    /// What is known of a datasource is out of date: its record changed.
    event DatasourceChangeEvent(1114): ResourceModifiedEvent says DatasourceChange of "the datasource's id or name";
    /// An ingestion is still at work.
    event IngestionProcessingEvent(1115): ResourceModifiedEvent says IngestionProcessing of "the dataset's id";
    /// A dataset on its way, in raw messages: 10001 the dataset, 2001 a part of it, 2005 its end. Nobody publishes these as events.
    raw DatasetStreamingEvent(1116): ResourceModifiedEvent of "the dataset's id";
    /// A table has other columns, or another key.
    event SchemaChangedEvent: ResourceModifiedEvent says SchemaChanged of "the service and the table: SERVICE.TABLE";
    /// Somebody follows something from now on.
    event NewSubscriptionEvent(1201): Event says NewSubscription of "who follows: the dispatcher's id, or the service's name";
    /// Somebody follows something no more.
    event DelSubscriptionEvent(1202): Event says DelSubscription of "who followed: the dispatcher's id, or the service's name";
    /// Somebody wrote to the log.
    base LoggingEvent: Event says Logging;
    /// Something went wrong that must be seen to at once.
    event CriticalLoggingEvent(3001): LoggingEvent says Logging of "where it was written: the module, or the process' name on the bus";
    /// Something went wrong.
    event ErrorLoggingEvent(3002): LoggingEvent says Logging of "where it was written: the module, or the process' name on the bus";
    /// Something worth knowing.
    event InfoLoggingEvent(3003): LoggingEvent says Logging of "where it was written: the module, or the process' name on the bus";
    /// There is new data.
    base DataEvent: Event says DataBlock;
    /// There is a new block of data.
    event DataBlockEvent(4001): DataEvent says DataBlock of "the process' name on the bus";
    /// An instrument measured something. Its number is that of all blocks of data.
    event InstrumentSampleDataEvent(4001): DataBlockEvent says InstrumentSample of "the process' name on the bus";
}
