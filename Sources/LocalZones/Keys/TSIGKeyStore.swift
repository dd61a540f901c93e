import DNS
import Logging
import NIOConcurrencyHelpers
import TSIG

#if canImport(Glibc)
import Glibc
#endif

/// The keys that messages are signed with (RFC 8945), as their files were read last.
package final class TSIGKeyStore: Sendable {
    private struct State {
        var keys: [DomainName: TSIGKey]
        var watches: [DomainName: FileWatch] = [:]
    }

    private let files: [TSIGKeyFile]
    private let state: NIOLockedValueBox<State>

    /// Keys that have no files.
    package init(_ keys: [DomainName: TSIGKey] = [:]) {
        files = []
        state = NIOLockedValueBox(State(keys: keys))
    }

    /// Reads all files.
    ///
    /// - Throws: what is wrong with the first one that gives no key, with its path.
    package init(files: [TSIGKeyFile]) throws(TSIGKeyStoreError) {
        var state = State(keys: [:])
        for file in files {
            state.watches[file.key, default: FileWatch()].note([file.name: file.version])
            do {
                state.keys[file.key] = try file.load()
            } catch {
                throw TSIGKeyStoreError(path: file.path, reason: error)
            }
        }
        self.files = files
        self.state = NIOLockedValueBox(state)
    }

    /// The keys as they are now.
    package var current: [DomainName: TSIGKey] { state.withLockedValue { $0.keys } }

    /// The key that was named for a server; nil where none was, and messages go unsigned.
    ///
    /// - Throws: where one was named that isn't there (any more): nothing may be said, or believed, without it.
    func key(named name: DomainName?) throws(MissingTSIGKey) -> TSIGKey? {
        guard let name else { return nil }
        guard let key = current[name] else { throw MissingTSIGKey(name: name) }
        return key
    }

    /// Reads files again. A key whose file has an error stays as it was, and one whose file is gone doesn't count any more.
    /// Blocks; one call at a time.
    ///
    /// - Parameter all: whether files are read that look as before, or that somebody may be writing.
    func refresh(all: Bool, _ logger: Logger) {
        for file in files {
            // Looked at before it's read, so that what changes meanwhile is seen the next time.
            let version = file.version
            var watch = state.withLockedValue { $0.watches[file.key] } ?? FileWatch()
            let hasChanged = version != nil && watch.hasChanged { _ in version }
            let isDue = all || watch.hasSettled { _ in version }
            if isDue { watch.note([file.name: version]) }
            state.withLockedValue { [watch] in $0.watches[file.key] = watch }
            guard isDue else { continue }
            var logger = logger
            logger[metadataKey: "key"] = "\(file.key)"
            logger[metadataKey: "file"] = "\(file.path)"
            do {
                let key = try file.load()
                let isAnother = state.withLockedValue { state in
                    defer { state.keys[file.key] = key }
                    return state.keys[file.key] != key
                }
                if isAnother { logger.info("key read again") }
            } catch .system(ENOENT) {
                let wasThere = state.withLockedValue { $0.keys.removeValue(forKey: file.key) != nil }
                if wasThere { logger.error("the key's file is gone: it doesn't count any more") }
            } catch .system(EACCES) {
                // Where only root may read the file, as it was read before rights were given up.
                logger.log(
                    level: hasChanged ? .error : .info,
                    "key can't be read again, the old one stays until resolverd is started again"
                )
            } catch {
                logger.error("key not read, the old one stays", metadata: ["reason": "\(error)"])
            }
        }
    }
}

/// A key that was named for a server isn't there.
struct MissingTSIGKey: Error, Equatable, CustomStringConvertible {
    let name: DomainName

    var description: String { "the key \(name) isn't there" }
}

/// Why there are no keys.
package struct TSIGKeyStoreError: Error, CustomStringConvertible {
    package let path: String
    package let reason: TSIGKeyFileError

    package var description: String { "\(path) (resolverd.keys): \(reason)" }
}
