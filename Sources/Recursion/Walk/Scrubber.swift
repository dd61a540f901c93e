import DNS

/// Takes from another server's answer what it was asked for, and nothing else: a record is believed only where the
/// chain of aliases from the question leads to its name.
struct Scrubber {
    let question: Question
    /// The part of the tree that the servers are entitled to speak of.
    var bailiwick = DomainName.root
    /// Whether the chain may be followed to a name by these servers' answer; elsewhere it's asked for anew.
    let mayFollow: (DomainName) -> Bool

    /// The answer; nil when it isn't usable: a loop of aliases, or neither an answer nor a proper denial.
    func scrub(_ message: DNSMessage) -> Outcome? {
        switch message.responseCode {
        case .noError, .nameError, .nameExists: break
        default: return nil
        }
        var outcome = Outcome(code: message.responseCode)
        var name = question.name
        for _ in 0...AliasChain.maximum {
            switch redirection(message.answers, name) {
            case .tooLong(let records):
                // The server may have said so or not: it follows from the DNAME record (RFC 6672 §2.2).
                outcome.answers += records
                outcome.code = .nameExists
                outcome.authorities = expansionProof(outcome.answers, message)
                return outcome
            case .link(let links, _) where question.type == .cname:
                // What was asked for has no signature of its own.
                outcome.answers += links
                outcome.code = .noError
                outcome.authorities = expansionProof(outcome.answers, message)
                return outcome
            case .link, nil: break
            }
            let found = records(message.answers, name, question.type)
            if !found.isEmpty {
                outcome.answers += found + signatures(message.answers, name, question.type)
                // An answer can't be one of a name that doesn't exist.
                outcome.code = .noError
                outcome.authorities = expansionProof(outcome.answers, message)
                return outcome
            }
            guard let (links, target) = alias(message.answers, name) else {
                guard name != question.name, isOpen(name, message) else { return deny(&outcome, name, message) }
                outcome.next = name
                outcome.authorities = expansionProof(outcome.answers, message)
                return outcome
            }
            outcome.answers += links
            name = target
            if !mayFollow(target) {
                outcome.code = .noError
                outcome.next = target
                outcome.authorities = expansionProof(outcome.answers, message)
                return outcome
            }
        }
        return nil
    }

    /// Whether an answer says nothing of what an alias leads to: the servers of a zone below may know.
    private func isOpen(_ name: DomainName, _ message: DNSMessage) -> Bool {
        message.responseCode == .noError
            && !message.authorities.contains { $0.type == .soa && name.isSubdomain(of: $0.name) }
    }

    private func records(_ all: [ResourceRecord], _ name: DomainName, _ type: RecordType) -> [ResourceRecord] {
        var set = all.filter { $0.type == type && $0.class == .internet && $0.name == name }
        // One set has one time to live, the shortest (RFC 2181 §5.2).
        let shortest = set.shortestLife() ?? 0
        for index in set.indices {
            set[index].timeToLive = shortest
            // The question's case goes out with a random one.
            set[index].name = name
        }
        return set
    }

    private func signatures(_ all: [ResourceRecord], _ name: DomainName, _ type: RecordType) -> [ResourceRecord] {
        let covered = [UInt8](integer: type.rawValue)
        return records(all, name, .rrsig).filter { $0.data.starts(with: covered) }
    }

    /// The alias at a name, by CNAME or by a DNAME above it, and where it leads.
    private func alias(_ all: [ResourceRecord], _ name: DomainName) -> (links: [ResourceRecord], target: DomainName)? {
        if case .link(let links, let target) = redirection(all, name) { return (links, target) }
        guard let link = records(all, name, .cname).first, let target = link.target else { return nil }
        return ([link] + signatures(all, name, .cname), target)
    }

    private enum Redirection {
        /// The DNAME record with its signatures and the alias that follows from it, and where it leads.
        case link([ResourceRecord], DomainName)
        /// The name would be longer than names are.
        case tooLong([ResourceRecord])
    }

    /// What a DNAME record above a name makes of it.
    private func redirection(_ all: [ResourceRecord], _ name: DomainName) -> Redirection? {
        for redirection in all where redirection.type == .dname && redirection.class == .internet {
            guard redirection.name != name, redirection.name.isSubdomain(of: bailiwick), let base = redirection.target
            else { continue }
            let records = [redirection] + signatures(all, redirection.name, .dname)
            do {
                guard let target = try name.replacing(suffix: redirection.name, with: base) else { continue }
                // The CNAME is made here, not taken from the answer (RFC 6672 §3.1).
                let made = ResourceRecord.naming(name, .cname, target, timeToLive: redirection.timeToLive)
                return .link(records + [made], target)
            } catch {
                return .tooLong(records)
            }
        }
        return nil
    }

    /// The proof that names don't exist which a wildcard stands for (RFC 4035 §3.1.3.3).
    private func expansionProof(_ answers: [ResourceRecord], _ message: DNSMessage) -> [ResourceRecord] {
        let isExpanded = answers.contains { record in
            RecordSignature(record).map { Int($0.labels) < record.name.labelCount } ?? false
        }
        guard isExpanded else { return [] }
        let proof: [RecordType] = [.nsec, .nsec3, .rrsig]
        return message.authorities.filter { proof.contains($0.type) && $0.name.isSubdomain(of: bailiwick) }
            .filter { record in RecordSignature(record).map { proof.contains($0.typeCovered) } ?? true }
    }

    /// The end of a chain that has no record of the type (RFC 2308 §2).
    private func deny(_ outcome: inout Outcome, _ name: DomainName, _ message: DNSMessage) -> Outcome? {
        outcome.isDenial = true
        let start = message.authorities.first { record in
            record.type == .soa && record.class == .internet && name.isSubdomain(of: record.name)
                && record.name.isSubdomain(of: bailiwick)
        }
        if var start {
            start.timeToLive = min(start.timeToLive, StartOfAuthority(start)?.minimum ?? 0)
            outcome.authorities = [start]
            outcome.authorities += message.authorities.filter { record in
                [.rrsig, .nsec, .nsec3].contains(record.type) && record.name.isSubdomain(of: start.name)
            }
            return outcome
        }
        // A referral where an answer was wanted: the server doesn't answer for others.
        if message.responseCode == .noError, !message.flags.isAuthoritative,
            message.authorities.contains(where: { $0.type == .ns })
        {
            return nil
        }
        return outcome
    }
}
