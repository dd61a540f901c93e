import DNS
import Resolution
import TLS

/// Looks up the TLSA records of a host (RFC 7672 §2.2.3).
struct AssociationLookup: Sendable {
    let query: StubResolver.Query

    /// - Parameters:
    ///   - addresses: what was answered for the host's addresses.
    ///   - nextHop: the names of the domain whose MX record names the host; empty where it's known otherwise.
    func associations(
        of host: DomainName,
        port: Int,
        addresses: [Resolution],
        nextHop: [DomainName]
    ) async -> HostAssociations {
        let answered = addresses.filter { resolution in resolution.answers.contains(where: Self.isAddress) }
        guard !answered.isEmpty else { return .nothing }
        let isSecure = answered.allSatisfy(\.isAuthentic)
        let final = answered.first?.answers.last(where: Self.isAddress)?.name ?? host
        var bases: [DomainName]
        if final == host {
            guard isSecure else { return .nothing }
            bases = [host]
        } else if isSecure {
            bases = [final, host]
        } else {
            // The alias itself may be signed, and lead to what isn't.
            do throws(ResolutionError) {
                let alias = try await query(host, .cname)
                guard Self.isAnswer(alias) else { return .unknown("\(host) CNAME: \(alias.responseCode)") }
                guard alias.isAuthentic, alias.answers.contains(where: { $0.type == .cname }) else { return .nothing }
            } catch {
                return .unknown("\(host) CNAME: \(error)")
            }
            bases = [host]
        }
        for base in bases {
            switch await records(of: base, port: port) {
            case .success(let records?):
                var names: [String] = []
                for name in [base] + nextHop {
                    let text = HostLookup.text(name).lowercased()
                    if !names.contains(text) { names.append(text) }
                }
                return .records(records, names: names)
            case .success(nil): continue
            case .failure(let reason): return .unknown(reason.text)
            }
        }
        return .nothing
    }

    private struct NoAnswer: Error { let text: String }

    /// - Returns: nil where there are none that DNSSEC vouches for.
    private func records(of base: DomainName, port: Int) async -> Result<[DANERecord]?, NoAnswer> {
        guard let name = try? base.prepending(label: "_tcp".utf8).prepending(label: "_\(port)".utf8) else {
            return .success(nil)
        }
        let resolution: Resolution
        do throws(ResolutionError) {
            resolution = try await query(name, .tlsa)
        } catch {
            return .failure(NoAnswer(text: "\(name): \(error)"))
        }
        guard Self.isAnswer(resolution) else {
            return .failure(NoAnswer(text: "\(name): \(resolution.responseCode)"))
        }
        let found = resolution.answers.filter { $0.type == .tlsa }
        guard resolution.isAuthentic, !found.isEmpty else { return .success(nil) }
        // A record that can't be read counts as one that can't be used.
        return .success(
            found.map { record in
                guard let data = TLSAssociation(record) else {
                    return DANERecord(usage: 255, selector: 255, matching: 255, data: [])
                }
                return DANERecord(usage: data.usage, selector: data.selector, matching: data.matching, data: data.data)
            }
        )
    }

    private static func isAnswer(_ resolution: Resolution) -> Bool {
        resolution.responseCode == .noError || resolution.responseCode == .nameError
    }

    private static func isAddress(_ record: ResourceRecord) -> Bool { record.type == .a || record.type == .aaaa }
}
