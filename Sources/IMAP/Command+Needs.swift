extension Command {
    /// The capabilities that the command uses, beyond IMAP4rev1. It isn't understood where one of them isn't offered.
    package var needs: [Capability] {
        switch self {
        case .id: [.id]
        case .select(_, let modifiers), .examine(_, let modifiers):
            (modifiers.condStore ? [.condStore] : []) + (modifiers.known == nil ? [] : [.qResync])
        case .create(_, let uses): uses.isEmpty ? [] : [.createSpecialUse]
        case .list(let list): list.needs
        case .status(_, let items): items.flatMap(\.needs)
        case .namespace: [.namespace]
        case .enable: [.enable]
        case .idle: [.idle]
        case .compress: [.compress]
        case .unauthenticate: [.unauthenticate]
        case .getQuota, .getQuotaRoot: [.quota]
        case .getACL, .setACL, .deleteACL, .listRights, .myRights: [.acl]
        case .getMetadata(let command): [command.mailbox == nil ? .metadataServer : .metadata]
        case .setMetadata(let mailbox, _): [mailbox == nil ? .metadataServer : .metadata]
        case .unselect: [.unselect]
        case .uidExpunge(let set): [.uidPlus] + set.needs
        case .search(let search, _): search.needs
        case .sort(let sort, _): sort.needs
        case .thread(let thread, _): thread.needs
        case .multiSearch(_, let search): [.multiSearch] + search.needs
        case .fetch(let set, let items, let modifiers, _): set.needs + items.flatMap(\.needs) + modifiers.needs
        case .store(let set, let change, _): set.needs + (change.unchangedSince == nil ? [] : [.condStore])
        case .copy(let set, _, _): set.needs
        case .move(let set, _, _): [.move] + set.needs
        case .startTLS: [.startTLS]
        case .capability, .noop, .logout, .authenticate, .login, .delete, .rename, .subscribe, .unsubscribe, .lsub,
            .check, .close, .expunge:
            []
        }
    }
}

extension Command {
    /// Whether it names messages by their numbers, or is answered with them.
    package var usesMessageNumbers: Bool {
        switch self {
        case .search(let search, let byUID): !byUID || search.key.usesMessageNumbers
        case .sort(let sort, let byUID): !byUID || sort.search.key.usesMessageNumbers
        case .thread(let thread, let byUID): !byUID || thread.search.key.usesMessageNumbers
        case .multiSearch(_, let search): search.key.usesMessageNumbers
        case .fetch(_, _, _, let byUID), .store(_, _, let byUID), .copy(_, _, let byUID), .move(_, _, let byUID): !byUID
        case .capability, .noop, .logout, .id, .startTLS, .authenticate, .login, .select, .examine, .create, .delete,
            .rename, .subscribe, .unsubscribe, .list, .lsub, .status, .namespace, .enable, .idle, .compress,
            .unauthenticate, .getQuota,
            .getQuotaRoot, .getACL, .setACL, .deleteACL, .listRights, .myRights, .getMetadata, .setMetadata, .check,
            .close, .unselect, .expunge, .uidExpunge:
            false
        }
    }
}

extension SearchKey {
    /// Whether messages are named by their numbers.
    package var usesMessageNumbers: Bool {
        contains { if case .sequence(let set) = $0 { !set.isSaved } else { false } }
    }
}

extension SearchKey {
    /// Whether modification sequences are asked for (RFC 7162 §3.1.5).
    package var usesModSequences: Bool {
        contains { if case .modSequence = $0 { true } else { false } }
    }
}

extension SequenceSet {
    fileprivate var needs: [Capability] { isSaved ? [.searchRes] : [] }
}

extension ListCommand {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = isExtended ? [.listExtended] : []
        if returns.contains(.myRights) { needs.append(.listMyRights) }
        if !annotations.isEmpty { needs.append(.listMetadata) }
        if !status.isEmpty { needs += [.listStatus] + status.flatMap(\.needs) }
        if selection.contains(.specialUse) || returns.contains(.specialUse) { needs.append(.specialUse) }
        return needs
    }
}

extension StatusItem {
    fileprivate var needs: [Capability] {
        switch self {
        case .size: [.statusSize]
        case .deletedStorage: [.quotaStorage]
        case .appendLimit: [.appendLimit]
        case .highestModSequence: [.condStore]
        case .mailboxID: [.objectID]
        case .messages, .recent, .uidNext, .uidValidity, .unseen, .deleted: []
        }
    }
}

extension SearchCommand {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = results == nil ? [] : [.eSearch]
        for result in results ?? [] {
            switch result {
            case .save: needs.append(.searchRes)
            case .partial: needs.append(.partial)
            case .relevancy: needs.append(.searchFuzzy)
            case .min, .max, .all, .count: continue
            }
        }
        return needs + key.needs
    }
}

extension SearchKey {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = []
        _ = contains { key in
            switch key {
            case .younger, .older: needs.append(.within)
            case .fuzzy: needs.append(.searchFuzzy)
            case .uidAfter, .uidBefore: needs.append(.messageLimit)
            case .sequence(let set), .uid(let set): needs += set.needs
            case .modSequence: needs.append(.condStore)
            case .emailID, .threadID: needs.append(.objectID)
            case .savedBefore, .savedOn, .savedSince, .saveDateSupported: needs.append(.saveDate)
            case .all, .flag, .new, .recent, .before, .on, .since, .sentBefore, .sentOn, .sentSince, .larger, .smaller,
                .header, .body, .text, .not, .or, .and:
                break
            }
            return false
        }
        return needs
    }
}

extension SortCommand {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = [.sort]
        if search.results != nil { needs.append(.eSort) }
        if criteria.contains(where: { $0.key == .displayFrom || $0.key == .displayTo }) { needs.append(.sortDisplay) }
        return needs + search.needs
    }
}

extension ThreadCommand {
    fileprivate var needs: [Capability] {
        switch algorithm {
        case .orderedSubject: [.threadOrderedSubject] + search.needs
        case .references: [.threadReferences] + search.needs
        case .refs: [.threadRefs] + search.needs
        }
    }
}

extension FetchItem {
    fileprivate var needs: [Capability] {
        switch self {
        case .binary, .binarySize: [.binary]
        case .preview: [.preview]
        case .modSequence: [.condStore]
        case .emailID, .threadID: [.objectID]
        case .saveDate: [.saveDate]
        case .envelope, .flags, .internalDate, .uid, .size, .bodyStructure, .body, .section, .rfc822, .rfc822Header,
            .rfc822Text:
            []
        }
    }
}

extension FetchModifiers {
    fileprivate var needs: [Capability] {
        (changedSince == nil ? [] : [.condStore]) + (vanished ? [.qResync] : []) + (partial == nil ? [] : [.partial])
    }
}
