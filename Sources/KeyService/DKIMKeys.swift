import Cryptography
import Files
import Keys
import NIOCore

/// The keys that mail is signed with: `DOMAIN/SELECTOR.pem` beneath one directory. A file that can't be used is left out, and the log
/// says so; the key that was read from it before stays.
struct DKIMKeys: Sendable {
    private struct File {
        let stamp: FileStatus
        /// nil for one that can't be used.
        let key: PrivateKey?
    }

    private struct Domain {
        /// By selector.
        var files: [String: File] = [:]
        /// What the log says of it.
        var trouble: String?
    }

    private let directory: FileHandle?
    private let path: String
    private var domains: [String: Domain] = [:]
    /// Why the directory as a whole can't be read.
    private(set) var trouble: String?

    private static let ending = ".pem"
    /// RFC 8301 §3.2: what verifiers take.
    private static let smallestModulus = 1024
    /// Keys of one domain.
    private static let maximumKeys = 64

    /// - Parameters:
    ///   - directory: nil where there is none.
    ///   - path: of it, for the log.
    init(_ directory: FileHandle?, path: String) {
        self.directory = directory
        self.path = path
    }

    /// The keys that sign for each domain now, sorted by selector.
    var active: [String: [DKIMKey]] {
        domains.mapValues { domain in
            domain.files.compactMap { selector, file in file.key.flatMap { Self.key(selector, $0) } }
                .sorted { $0.selector < $1.selector }
        }
    }

    var keys: [KeyName: PrivateKey] {
        var keys: [KeyName: PrivateKey] = [:]
        for file in domains.values.flatMap(\.files.values) {
            if let key = file.key, let name = Self.name(key) { keys[name] = key }
        }
        return keys
    }

    /// Reads what has changed.
    mutating func look(_ files: any FileSystem) -> [KeyEvent] {
        guard let directory else { return [] }
        let names: [[UInt8]]
        do throws(FileError) {
            names = try files.names(".", in: directory)
        } catch {
            defer { trouble = error.description }
            return trouble == nil ? [KeyEvent(isTrouble: true, text: error.description, path: path)] : []
        }
        trouble = nil
        var events: [KeyEvent] = []
        var found: [String: Domain] = [:]
        for octets in names {
            let name = String(decoding: octets, as: UTF8.self)
            guard KeyRequest.isDomain(name), (try? files.status(name, in: directory))?.kind == .directory else {
                continue
            }
            let before = domains[name] ?? Domain()
            let domain = Self.read(name, before, in: directory, files)
            found[name] = domain
            if domain.trouble != before.trouble, let trouble = domain.trouble {
                events.append(KeyEvent(isTrouble: true, text: trouble, path: "\(path)/\(name)"))
            }
        }
        domains = found
        return events
    }

    private static func read(
        _ name: String,
        _ before: Domain,
        in directory: FileHandle,
        _ files: any FileSystem
    ) -> Domain {
        var domain = Domain()
        do throws(FileError) {
            for octets in try files.names(name, in: directory) {
                let file = String(decoding: octets, as: UTF8.self)
                guard file.hasSuffix(ending), KeyRequest.isDomain(String(file.dropLast(ending.count))),
                    domain.files.count < maximumKeys
                else { continue }
                let selector = String(file.dropLast(ending.count))
                let stamp = try files.status("\(name)/\(file)", in: directory)
                if let known = before.files[selector], known.stamp == stamp {
                    domain.files[selector] = known
                    domain.trouble = known.key == nil ? before.trouble : domain.trouble
                    continue
                }
                let octets = try files.contents(
                    of: "\(name)/\(file)",
                    in: directory,
                    maximum: TLSPairs.maximumKeyOctets
                )
                let key = PrivateKey(pem: Array(octets.readableBytesView)).flatMap { isUsable($0) ? $0 : nil }
                if key == nil { domain.trouble = "\(file): no RSA or Ed25519 key that can be used" }
                domain.files[selector] = File(stamp: stamp, key: key ?? before.files[selector]?.key)
            }
            return domain
        } catch {
            // What can't be read now is as it was.
            var domain = before
            domain.trouble = error.description
            return domain
        }
    }

    private static func isUsable(_ key: PrivateKey) -> Bool {
        switch key.kind {
        case .rsa: key.publicKey.map { $0.bits >= smallestModulus } ?? false
        case .ed25519: true
        case .ecdsaP256, .ecdsaP384, .ed448: false
        }
    }

    private static func key(_ selector: String, _ key: PrivateKey) -> DKIMKey? {
        name(key).map {
            DKIMKey(selector: selector, algorithm: key.kind == .rsa ? .dkimRSA : .dkimEd25519, key: $0)
        }
    }

    private static func name(_ key: PrivateKey) -> KeyName? {
        key.publicKey.map { KeyName(.dkim, subjectPublicKeyInfo: $0.subjectPublicKeyInfo) }
    }
}
