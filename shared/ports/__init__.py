"""What the services need from the world: the record, its catalogue, webhook deliveries, the broker and a clock.

Adapters of one port pass one contract suite (`tests/contract/`), so whatever is promised here is tested there.
"""

from shared.ports.broker import Broker, BrokerUnavailableError, Consumer, Delivery, News, Subscription, TaskMessage
from shared.ports.catalogue import CLOCK_SLACK, Catalogue, Page, Place, QueueCounts, WorkerReport
from shared.ports.clock import Clock
from shared.ports.deliveries import Deliveries, Lane, ListedDelivery, TakenLane
from shared.ports.record import Appended, Change, Conflict, Record, StoreError, StoreFullError, StoreUnavailableError

__all__ = [
    "CLOCK_SLACK",
    "Appended",
    "Broker",
    "BrokerUnavailableError",
    "Catalogue",
    "Change",
    "Clock",
    "Conflict",
    "Consumer",
    "Deliveries",
    "Delivery",
    "Lane",
    "ListedDelivery",
    "News",
    "Page",
    "Place",
    "QueueCounts",
    "Record",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "Subscription",
    "TakenLane",
    "TaskMessage",
    "WorkerReport",
]
