import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useState } from 'react';

/** A dialog that makes something; ?new=1 (from the palette) opens it at once and is taken out of the address. */
export function useNew(): [boolean, (isOpen: boolean) => void] {
  const search = useSearch({ strict: false }) as { new?: string };
  const navigate = useNavigate();
  const [isOpen, setIsOpen] = useState(false);
  useEffect(() => {
    if (!search.new) return;
    setIsOpen(true);
    void navigate({
      to: '.',
      replace: true,
      search: (old: Record<string, unknown>) => ({ ...old, new: undefined }),
    } as never);
  }, [search.new, navigate]);
  return [isOpen, setIsOpen];
}
