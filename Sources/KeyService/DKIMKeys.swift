import Cryptography
import Files
import Keys
import MailAuth
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The keys that mail is signed with: for each domain a directory with the list `selectors` and `SELECTOR.pem` for each key. What is
/// half written, or can't be read now, leaves what was there before, and the log says so.
struct DKIMKeys: Sendable {
    /// What signs for a domain.
    enum Signers: Equatable, Sendable {
        /// In the list's order.
        case keys([DKIMKey])
        /// Its mail has to wait: for people.
        case trouble(String)
    }

    /// A file as it was last read.
    private struct File<Value: Sendable>: Sendable {
        /// Of what was read; nil where it has to be read again.
        var stamp: FileStatus?
        /// The last that was good.
        var value: Value?
        /// What is wrong with the file as it is now.
        var fault: String?
    }

    private struct Domain {
        /// nil where there is none.
        var list: File<SelectorList>?
        /// Those that are to sign, by selector.
        var keys: [String: File<PrivateKey>] = [:]

        /// What the log says of it.
        var trouble: String? { list?.fault ?? keys.sorted { $0.key < $1.key }.compactMap(\.value.fault).first }
    }

    private let directory: FileHandle?
    private let path: String
    private var domains: [String: Domain] = [:]
    /// Why the directory as a whole can't be read.
    private(set) var trouble: String?

    /// RFC 8301 §3.2: what verifiers take.
    private static let smallestModulus = 1024

    /// - Parameters:
    ///   - directory: nil where it can't be opened: nobody knows who has keys then.
    ///   - path: of it, for the log.
    init(_ directory: FileHandle?, path: String) {
        self.directory = directory
        self.path = path
    }

    /// What signs for each domain now. A domain without list and keys, or whose list names no active key, signs nothing.
    var active: [String: Signers] {
        domains.mapValues { domain in
            guard let file = domain.list else { return .keys([]) }
            guard let list = file.value else { return .trouble(file.fault ?? "the list can't be read") }
            var keys: [DKIMKey] = []
            for entry in list.entries where entry.state == .active {
                guard let key = domain.keys[entry.selector]?.value, let name = Self.name(key) else {
                    return .trouble("the key \(entry.selector) can't be used")
                }
                let algorithm: SigningAlgorithm = key.kind == .rsa ? .dkimRSA : .dkimEd25519
                keys.append(DKIMKey(selector: entry.selector, algorithm: algorithm, key: name))
            }
            return .keys(keys)
        }
    }

    var keys: [KeyName: PrivateKey] {
        var keys: [KeyName: PrivateKey] = [:]
        for file in domains.values.flatMap(\.keys.values) {
            if let key = file.value, let name = Self.name(key) { keys[name] = key }
        }
        return keys
    }

    /// Reads what has changed.
    mutating func look(_ files: any FileSystem) -> [KeyEvent] {
        let names: [[UInt8]]
        do throws(FileError) {
            // Who has no keys has it empty: that it isn't there says nothing of who has.
            guard let directory, try files.status(".", in: directory).links > 0 else {
                return fail("the directory is missing: make it, and start keyd anew")
            }
            names = try files.names(".", in: directory)
        } catch {
            return fail(error.description)
        }
        guard let directory else { return [] }
        trouble = nil
        var events: [KeyEvent] = []
        var found: [String: Domain] = [:]
        for octets in names {
            let name = String(decoding: octets, as: UTF8.self)
            guard SelectorList.isDomain(name) else { continue }
            let before = domains[name] ?? Domain()
            do throws(FileError) {
                guard try files.status(name, in: directory, followingLinks: true).kind == .directory else { continue }
            } catch {
                if error.code == ENOENT { continue }
                // What is in there says so itself.
            }
            let domain = Self.read(name, before, in: directory, files)
            found[name] = domain
            if domain.trouble != before.trouble, let trouble = domain.trouble {
                events.append(KeyEvent(isTrouble: true, text: trouble, path: "\(path)/\(name)"))
            }
        }
        domains = found
        return events
    }

    /// Nothing is known of any domain.
    private mutating func fail(_ reason: String) -> [KeyEvent] {
        defer { trouble = reason }
        return trouble == reason ? [] : [KeyEvent(isTrouble: true, text: reason, path: path)]
    }

    /// Whether a domain without a list should have one: it had, or there are keys.
    private static func misses(_ name: String, _ before: Domain, in directory: FileHandle, _ files: any FileSystem)
        -> Bool
    {
        guard before.list == nil else { return true }
        let names = (try? files.names(name, in: directory)) ?? []
        return names.contains { $0.suffix(4).elementsEqual(".pem".utf8) }
    }

    private static func read(
        _ name: String,
        _ before: Domain,
        in directory: FileHandle,
        _ files: any FileSystem
    ) -> Domain {
        func read<Value>(
            _ file: String,
            _ before: File<Value>?,
            maximum: Int,
            parse: ([UInt8]) throws(Malformed) -> Value
        ) -> File<Value>? {
            let path = "\(name)/\(file)"
            do throws(FileError) {
                let stamp = try files.status(path, in: directory, followingLinks: true)
                if let before, before.stamp == stamp { return before }
                let octets = Array(try files.contents(of: path, in: directory, maximum: maximum).readableBytesView)
                do throws(Malformed) {
                    return File(stamp: stamp, value: try parse(octets))
                } catch {
                    return File(stamp: stamp, value: before?.value, fault: "\(file): \(error.reason)")
                }
            } catch {
                if error.code == ENOENT { return nil }
                return File(value: before?.value, fault: error.description)
            }
        }
        var domain = Domain()
        domain.list = read(SelectorList.fileName, before.list, maximum: SelectorList.maximumOctets) {
            (octets) throws(Malformed) in
            do throws(SelectorList.Malformed) {
                return try SelectorList(parsing: octets)
            } catch {
                throw Malformed(reason: error.description)
            }
        }
        // Mail that should be signed doesn't go unsigned because a file is gone.
        if domain.list == nil, misses(name, before, in: directory, files) {
            domain.list = File(fault: "\(SelectorList.fileName) is missing")
        }
        for entry in domain.list?.value?.entries ?? [] where entry.state == .active {
            let key = read(entry.keyFile, before.keys[entry.selector], maximum: CertificatePair.maximumKeyOctets) {
                (octets) throws(Malformed) in
                guard let key = PrivateKey(pem: octets), suits(key, entry.algorithm) else {
                    throw Malformed(reason: "no key for \(entry.algorithm.rawValue) that can be used")
                }
                return key
            }
            domain.keys[entry.selector] = key ?? File(fault: "\(entry.keyFile) is missing")
        }
        return domain
    }

    private struct Malformed: Error {
        let reason: String
    }

    private static func suits(_ key: PrivateKey, _ algorithm: SignatureAlgorithm) -> Bool {
        switch algorithm {
        case .rsaSHA256: key.kind == .rsa && key.publicKey.map { $0.bits >= smallestModulus } ?? false
        case .ed25519SHA256: key.kind == .ed25519
        case .rsaSHA1: false
        }
    }

    private static func name(_ key: PrivateKey) -> KeyName? {
        key.publicKey.map { KeyName(.dkim, subjectPublicKeyInfo: $0.subjectPublicKeyInfo) }
    }
}
