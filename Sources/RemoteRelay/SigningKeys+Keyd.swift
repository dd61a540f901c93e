import Keys
import MailAuth
import NIOConcurrencyHelpers
import NIOCore

extension SigningKeys {
    /// The keys that keyd has, as it said a moment ago. To be used on the client's event loop.
    ///
    /// - Parameter mayHaveKeys: whether some domain has keys, as far as could be seen at the start. Where none has, mail doesn't
    ///   wait for keyd to say so, until it has named one.
    init(_ client: KeysClient, mayHaveKeys: Bool = true) {
        let waits = NIOLockedValueBox(mayHaveKeys)
        let recent = NIOLockedValueBox(RecentKeys())
        self.init { (domain) async throws(SigningKeysError) in
            if let keys = recent.withLockedValue({ $0.keys(of: domain, at: .now()) }) { return keys }
            do throws(KeysError) {
                var keys: [ActiveKey] = []
                for key in try await client.dkimKeys(of: domain) {
                    guard let name = SigningName(domain, key) else { throw .unavailable("malformed answer") }
                    keys.append(ActiveKey(name: name, key: key.key))
                }
                if !keys.isEmpty { waits.withLockedValue { $0 = true } }
                recent.withLockedValue { $0.keep(keys, of: domain, at: .now()) }
                return keys
            } catch {
                guard waits.withLockedValue({ $0 }) else { return [] }
                throw SigningKeysError(reason: error.description)
            }
        } sign: { (key, draft) async throws(SigningKeysError) in
            do throws(KeysError) {
                let algorithm: SigningAlgorithm = key.name.algorithm == .rsaSHA256 ? .dkimRSA : .dkimEd25519
                return try await client.sign(draft.digest, with: key.key, algorithm)
            } catch {
                recent.withLockedValue { $0 = RecentKeys() }
                let isRefusal = if case .refused = error { true } else { false }
                throw SigningKeysError(reason: error.description, isRefusal: isRefusal)
            }
        }
    }
}

extension SigningName {
    /// nil where that is no name, or signs otherwise than mail is signed.
    fileprivate init?(_ domain: String, _ key: DKIMKey) {
        guard let algorithm = SignatureAlgorithm(rawValue: key.algorithm.rawValue),
            let name = try? SigningName(
                domain: Array(domain.utf8),
                selector: Array(key.selector.utf8),
                algorithm: algorithm
            )
        else { return nil }
        self = name
    }
}
