extension MailboxLocation {
    /// The directories in which something happens when a folder changes, for inotify; none where the format has none.
    ///
    /// - Parameter mailDirectory: the path that mailboxes' paths are relative to.
    package func directories(of folder: FolderName, beneath mailDirectory: String) -> [String] {
        switch format {
        case .maildir: ["new", "cur"].map { "\(mailDirectory)/\(path)/\(folder.directory)/\($0)" }
        case .mbox: []
        }
    }
}
