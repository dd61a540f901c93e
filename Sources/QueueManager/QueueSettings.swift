import Daemon
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The queue manager's settings.
package struct QueueSettings: Sendable {
    /// Our name in Received fields and delivery reports.
    package var hostname: String
    /// Domains whose mail goes to local-deliver, in lower case; nil where authd is asked.
    package var domains: Set<String>?
    /// How long a message is tried. Milliseconds, as all times here.
    package var lifetime: Int64
    /// How long a delivery report is tried.
    package var bounceLifetime: Int64
    /// After how long the sender is told that a message is late; 0 for never.
    package var delayWarning: Int64
    /// The first wait after a failed attempt.
    package var retryMinimum: Int64
    /// The longest wait between attempts.
    package var retryMaximum: Int64
    /// Deliveries to one remote destination at the same time.
    package var destinationConcurrency: Int
    /// Deliveries to mailboxes at the same time.
    package var localConcurrency: Int
    /// Deliveries at the same time in all.
    package var concurrency: Int
    /// Recipients that one delivery to another host has.
    package var deliveryRecipients: Int
    /// The largest message of a peer that is not one of ours. Octets.
    package var maximumMessage: Int
    /// Recipients of a message of a peer that is not one of ours.
    package var maximumRecipients: Int
    /// What is different for some classes of mail.
    package var classes: [DeliveryClass: QueueManagerConfiguration.DeliveryTimes] = [:]
    /// With so many recipients a message is bulk mail; 0 for never.
    package var bulkRecipients = 0
    /// What is different for mail to some domains.
    package var destinations = DomainTable<DestinationSettings>([:])
    /// How many reports about reports postmaster gets in an hour.
    package var postmasterReports: Int
    /// Uids whose word on client, user and origin is taken: root, our own and those of our daemons.
    package var trusted: Set<UInt32> = [0, getuid()]
    /// Uids that may use every verb of the control socket: root, our own and who else may.
    package var administrators: Set<UInt32> = [0, getuid()]
    /// The group whose members may look at the queue.
    package var readers: UInt32?
    /// Connections of one local user to queue.sock at the same time.
    package var connectionsPerUser = 100
    /// How long a local user's program may be silent between two requests.
    package var localIdleTimeout = TimeAmount.minutes(1)
    /// How long a peer may be silent in the middle of a message.
    package var idleTimeout = TimeAmount.minutes(5)
    /// Received fields of a message, with those that are added here; more are a loop (RFC 5321 §6.3).
    package var maximumHops = 100
    /// What new messages may take of memory until they were tried. Octets.
    package var cachedContent = 32 << 20
    /// What becomes of mail whose submitter's account is disabled.
    package var disabledAccounts = QueueManagerConfiguration.DisabledAccounts.deliver
    /// local-deliver's socket.
    package var deliverSocket = "run/deliver.sock"
    /// remote-relay's socket.
    package var relaySocket = "run/relay.sock"
    /// pipe-deliver's socket.
    package var pipeSocket = "run/pipe.sock"
    /// authd's socket.
    package var authoritySocket = "run/auth.sock"

    /// - Parameters:
    ///   - hostname: our name in Received fields and delivery reports.
    ///   - domains: whose mail goes to local-deliver, in lower case; nil where authd is asked.
    package init(hostname: String, domains: Set<String>?, _ queue: QueueManagerConfiguration) {
        self.hostname = hostname
        self.domains = domains
        lifetime = queue.lifetime.milliseconds
        bounceLifetime = queue.bounceLifetime.milliseconds
        delayWarning = queue.delayWarning.milliseconds
        retryMinimum = queue.retryMinimum.milliseconds
        retryMaximum = queue.retryMaximum.milliseconds
        destinationConcurrency = queue.destinationConcurrency
        localConcurrency = queue.localConcurrency
        concurrency = queue.concurrency
        deliveryRecipients = queue.deliveryRecipients
        maximumMessage = queue.maximumMessage
        maximumRecipients = queue.maximumRecipients
        classes = [.bounce: queue.bounce, .priority: queue.priority, .bulk: queue.bulk]
        bulkRecipients = queue.bulkRecipients
        disabledAccounts = queue.disabledAccounts
        postmasterReports = queue.postmasterReports
        destinations = DomainTable(
            queue.destinations.mapValues {
                DestinationSettings(times: $0.times, concurrency: $0.concurrency, interval: $0.interval?.milliseconds)
            }
        )
    }

    /// What is different for mail to a destination; nothing for the mailboxes here.
    func own(_ destination: String) -> DestinationSettings? {
        destination.isEmpty || destinations.isEmpty ? nil : destinations[destination]
    }

    /// The values of a configuration.
    package init(_ configuration: Configuration) {
        self.init(hostname: configuration.hostname, domains: nil, configuration.queueManager)
        // One limit for all ways in.
        maximumHops = configuration.smtpd.maximumHops
    }
}

extension TimeAmount {
    var milliseconds: Int64 { nanoseconds / 1_000_000 }
}

/// Where time and chance come from; tests bring their own.
package struct QueueClock: Sendable {
    /// Milliseconds since 1970.
    package var now: @Sendable () -> Int64
    /// From 0 to 1.
    package var chance: @Sendable () -> Double
    /// Has something done in a later turn of a loop, after the loop has looked after everybody else.
    package var turn: @Sendable (any EventLoop, @escaping @Sendable () -> Void) -> Void

    /// A clock of one's own.
    package init(
        now: @escaping @Sendable () -> Int64,
        chance: @escaping @Sendable () -> Double,
        turn: @escaping @Sendable (any EventLoop, @escaping @Sendable () -> Void) -> Void = { $0.execute($1) }
    ) {
        self.now = now
        self.chance = chance
        self.turn = turn
    }
}
