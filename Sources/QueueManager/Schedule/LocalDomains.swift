import Daemon
import DequeModule
import NIOCore
import SMTP
import Spool

/// Which domains have their mailboxes here, as authd says.
struct LocalDomains {
    /// As `key` has them; nil as long as authd has never said.
    var known: Set<String>?
    /// The first of them in the configuration, which the administrator thinks of first.
    private(set) var first: String?
    /// Messages that came before it had, whose jobs are for the destination `unknown`.
    var undecided = PartedDictionary<MessageID, MessageEnvelope>()
    /// Messages that go elsewhere than before, and those of them that are being worked on.
    var rerouted: Deque<MessageID> = []
    var underWay: Set<MessageID> = []

    init(known: Set<String>?) {
        self.known = known.map { Set($0.map(Self.key)) }
        first = known?.min()
    }

    /// Stands for the destination of mail as long as nobody knows whether it's ours. No domain has this name.
    static let unknown = "?"

    /// What a domain is known by: in lower case, and an international one is the same in both of its forms.
    static func key(_ domain: String) -> String { DomainTable<Void>.key(domain) }

    mutating func learn(_ domains: [String]) {
        known = Set(domains.map(Self.key))
        first = domains.first
    }

    /// Where postmaster of this host is: in the domain of its name, if that is one of ours.
    func postmaster(hostname: String) -> MailAddress? {
        let name = Self.key(hostname)
        let home = known?.contains(name) == true ? name : first
        return home.flatMap { try? MailAddress(parsing: "postmaster@\($0)".utf8) }
    }

    /// The destination of mail for a domain.
    func destination(of domain: String) -> String {
        guard let known else { return Self.unknown }
        let key = Self.key(domain)
        return known.contains(key) ? "" : key
    }
}

extension Queue {
    /// How many messages one turn of the loop decides on, and how many are read again at the same time.
    private static let stepSize = 200
    private static let maximumUnderWay = 100
    /// After a failure to read a message again.
    private static let pause = TimeAmount.minutes(1)

    /// Takes in which domains are ours. What goes elsewhere for it is tried anew.
    package func learn(domains: [String]) {
        loop.assertInEventLoop()
        let fresh = Set(domains.map(LocalDomains.key))
        guard let former = localDomains.known else {
            localDomains.learn(domains)
            return decide()
        }
        guard fresh != former else { return }
        localDomains.learn(domains)
        var moved = fresh.subtracting(former).sorted()
        if !former.isSubset(of: fresh) { moved.append("") }
        log.domainsChanged(messages: moved.reduce(0) { $0 + store.count(destination: $1) })
        for destination in moved {
            walk(.destination(destination)) { [self] message in
                localDomains.rerouted.append(message.id)
                reroute()
                return true
            }
        }
    }

    /// Gives jobs of messages that came before anything was known their destinations.
    private func decide() {
        var left = Self.stepSize
        while left > 0, let (id, envelope) = localDomains.undecided.popFirst() {
            left -= 1
            if let message = store[id] { decide(message, envelope) }
        }
        schedulePump()
        if !localDomains.undecided.isEmpty { later { [weak self] in self?.decide() } }
    }

    private func decide(_ message: QueuedMessage, _ envelope: MessageEnvelope) {
        // A change may have worked out anew where it goes.
        guard message.jobs.contains(where: { $0.destination == LocalDomains.unknown }) else { return }
        var jobs = message.jobs.filter { $0.destination != LocalDomains.unknown }
        for job in message.jobs where job.destination == LocalDomains.unknown {
            schedule.withdraw(job, at: clock.now())
            var open: [String: DeliveryJob] = [:]
            for recipient in job.recipients {
                let destination = localDomains.destination(of: envelope.recipients[Int(recipient)].address.domain)
                if let known = open[destination], known.recipients.count < settings.recipients(ofDelivery: envelope) {
                    known.recipients.append(recipient)
                    continue
                }
                let fresh = DeliveryJob(
                    message,
                    to: store.group(destination: destination),
                    recipients: .one(recipient),
                    mayBeKnown: job.mayBeKnown
                )
                fresh.attempts = job.attempts
                fresh.due = job.due
                fresh.isWarned = job.isWarned
                fresh.reason = job.reason
                open[destination] = fresh
                jobs.append(fresh)
            }
        }
        store.setJobs(of: message, jobs)
        proceed(with: message)
    }

    /// Works out anew where messages go, a few at a time.
    private func reroute() {
        while localDomains.underWay.count < Self.maximumUnderWay, !isClosed, let id = localDomains.rerouted.popFirst() {
            localDomains.underWay.insert(id)
            let waits = request(.reroute(isAsked: false), of: id) { [self] result in
                loop.execute { [self] in rerouted(id, result) }
            }
            // One that waits for the end of a delivery holds nobody up.
            if waits { localDomains.underWay.remove(id) }
        }
    }

    private func rerouted(_ id: MessageID, _ result: ChangeResult) {
        localDomains.underWay.remove(id)
        if case .failed = result {
            loop.scheduleTask(in: Self.pause) { [weak self] in
                self?.localDomains.rerouted.append(id)
                self?.reroute()
            }
        }
        reroute()
    }
}
