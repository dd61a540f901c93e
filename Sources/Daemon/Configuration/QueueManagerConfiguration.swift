import NIOCore

/// `[queue-manager]`
package struct QueueManagerConfiguration: Sendable {
    /// How long a message is tried before it is returned.
    package var lifetime: TimeAmount
    /// The same for delivery reports, which nobody waits for.
    package var bounceLifetime: TimeAmount
    /// After how long the sender is told that a message is late; zero for never.
    package var delayWarning: TimeAmount
    /// The first wait after a failed attempt; waits double up to `retryMaximum`.
    package var retryMinimum: TimeAmount
    package var retryMaximum: TimeAmount
    /// Deliveries to one destination at the same time.
    package var destinationConcurrency: Int
    /// Deliveries to mailboxes at the same time.
    package var localConcurrency: Int
    /// Deliveries at the same time in all.
    package var concurrency: Int
    /// Recipients of one message that one delivery to another host has.
    package var deliveryRecipients: Int
    /// The largest message that local programs may hand in. Octets.
    package var maximumMessage: Int
    /// How many recipients a message from a local program may have.
    package var maximumRecipients: Int
    /// What becomes of queued mail that a disabled account has handed in.
    package var disabledAccounts: DisabledAccounts
    /// Of one file of the spool's journal. Octets.
    package var journalSegment: Int
    /// What is left free on the spool's file system. Octets.
    package var reserve: Int
    /// `[queue-manager.classes.bounce]`: mail with the null reverse-path.
    package var bounce: DeliveryTimes
    /// `[queue-manager.classes.priority]`: mail whose sender asked for a priority above the usual (RFC 6710).
    package var priority: DeliveryTimes
    /// `[queue-manager.classes.bulk]`: mail of a priority below the usual, or with `bulkRecipients`.
    package var bulk: DeliveryTimes
    /// With so many recipients a message is bulk mail; 0 for never.
    package var bulkRecipients: Int
    /// How many reports about reports postmaster gets in an hour; of the others he's told how many there were.
    package var postmasterReports: Int
    /// `[queue-manager.destinations."example.net"]`, by the domain in lower case; also `.example.net` and `*`, as `DomainTable` has
    /// them.
    package var destinations: [String: DestinationConfiguration] = [:]

    /// What becomes of mail in the queue whose submitter's account is disabled.
    package enum DisabledAccounts: String, CaseIterable, Sendable {
        /// It goes its way: nobody is asked.
        case deliver
        /// Until the account is enabled, or its time is over.
        case wait
        /// To its sender, as failed.
        case `return`
    }

    /// When some messages are tried, and for how long; nil for what is as for all.
    package struct DeliveryTimes: Sendable {
        package var retryMinimum: TimeAmount?
        package var retryMaximum: TimeAmount?
        package var lifetime: TimeAmount?
        /// Zero for never.
        package var delayWarning: TimeAmount?

        /// The times of all mail.
        package init() {}
    }

    /// What is different for mail to one domain; nil for what isn't.
    package struct DestinationConfiguration: Sendable {
        package var times = DeliveryTimes()
        package var concurrency: Int?
        /// From the beginning of one delivery to that of the next, at least.
        package var interval: TimeAmount?
    }

    /// The defaults.
    package static var standard: QueueManagerConfiguration {
        get throws(ConfigurationError) { try QueueManagerConfiguration(ConfigurationTable([:], file: "")) }
    }

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        lifetime = try table.duration("lifetime", default: .hours(5 * 24))
        bounceLifetime = try table.duration("bounce-lifetime", default: .hours(2 * 24))
        delayWarning = try table.duration("delay-warning", default: .hours(4))
        retryMinimum = try table.duration("retry-minimum", default: .minutes(5), in: Self.minimums)
        retryMaximum = try table.duration("retry-maximum", default: .hours(4), in: Self.maximums)
        guard retryMinimum <= retryMaximum else {
            throw table.error("retry-minimum", "must not be more than retry-maximum")
        }
        destinationConcurrency = try table.integer("destination-concurrency", default: 20, in: 1...10_000)
        localConcurrency = try table.integer("local-concurrency", default: 200, in: 1...10_000)
        concurrency = try table.integer("concurrency", default: 1000, in: 1...100_000)
        deliveryRecipients = try table.integer("delivery-recipients", default: 100, in: 1...1000)
        maximumMessage = try table.octets("maximum-message", default: 50 << 20)
        maximumRecipients = try table.integer("maximum-recipients", default: 1000, in: 1...20_000)
        disabledAccounts = try table.choice("disabled-accounts", default: .deliver)
        postmasterReports = try table.integer("postmaster-reports", default: 100, in: 0...1_000_000)
        journalSegment = try table.octets("journal-segment", default: 64 << 20, in: (2 << 20)...(1 << 30))
        reserve = try table.octets("reserve", default: 64 << 20)
        let classes = try table.table("classes")
        bounce = DeliveryTimes()
        priority = DeliveryTimes()
        bulk = DeliveryTimes()
        bulkRecipients = try table.integer("bulk-recipients", default: 0, in: 0...20_000)
        bounce = try times(try classes.table("bounce"))
        priority = try times(try classes.table("priority"))
        bulk = try times(try classes.table("bulk"))
        let destinations = try table.table("destinations")
        for domain in destinations.keys {
            // Mailboxes are no domain: it would say nothing to anybody.
            guard domain.lowercased() != "local", !domain.isEmpty else {
                throw destinations.error(domain, "is no domain; for mailboxes here there is local-concurrency")
            }
            let own = try destination(try destinations.table(domain))
            guard self.destinations.updateValue(own, forKey: DomainTable<DestinationConfiguration>.key(domain)) == nil
            else {
                throw destinations.error(domain, "is there already")
            }
        }
    }

    private static let minimums = TimeAmount.milliseconds(10) ... .hours(48)
    private static let maximums = TimeAmount.milliseconds(10) ... .hours(240)

    private func times(_ table: ConfigurationTable) throws(ConfigurationError) -> DeliveryTimes {
        var times = DeliveryTimes()
        func read(
            _ key: String,
            _ range: ClosedRange<TimeAmount> = .zero ... .hours(24 * 365)
        ) throws(ConfigurationError) -> TimeAmount? {
            table.keys.contains(key) ? try table.duration(key, default: .zero, in: range) : nil
        }
        times.retryMinimum = try read("retry-minimum", Self.minimums)
        times.retryMaximum = try read("retry-maximum", Self.maximums)
        times.lifetime = try read("lifetime")
        times.delayWarning = try read("delay-warning")
        guard times.retryMinimum ?? retryMinimum <= times.retryMaximum ?? retryMaximum else {
            throw table.error("retry-minimum", "must not be more than retry-maximum")
        }
        return times
    }

    private func destination(_ table: ConfigurationTable) throws(ConfigurationError) -> DestinationConfiguration {
        var own = DestinationConfiguration(times: try times(table))
        if table.keys.contains("concurrency") {
            own.concurrency = try table.integer("concurrency", default: 1, in: 1...10_000)
        }
        if let rate = try table.string("rate") {
            guard let interval = Quantity.interval(rate) else {
                throw table.error("rate", "must be a number of deliveries in a time such as \"10/s\" or \"600/h\"")
            }
            own.interval = interval
        }
        return own
    }
}
